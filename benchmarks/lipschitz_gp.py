"""The controller gp_cem: how far off in wind that nobody tells, with its Gaussian process and without, and through
scenes whose straight way is blocked, with the filter in its rollouts and only behind them. Geometric law and NMPC fly
the same winds and scenes."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from benchmarks.lipschitz_filter import GOAL, START, hull_clearance, straight
from control_stack.artefacts.tables import BenchRow, Findings
from control_stack.protocols import Controller, Trajectory
from control_stack.quadrotor.long_step import LongStepQuadrotor
from control_stack.quadrotor.parameters import QuadrotorParameters, load_vehicle
from control_stack.safety.barrier.filter import Answer, SafetyFilter
from control_stack.safety.barrier.scene import Bounds, Margin, Obstacle, Scene, Walls
from control_stack.trajectories import Lissajous
from control_stack.types import Array, CommandLevel, QuadrotorState, Reference
from controllers.geometric import GeometricController
from controllers.gp_cem.quadrotor import GpCemController
from controllers.nmpc.disturbance import DisturbanceFilter, estimator_noise
from controllers.nmpc.quadrotor import NmpcController
from sim.config import SimulationConfig
from sim.factory import make_vehicle
from sim.wind import WindConfig

DT, PATIENCE = 0.01, 12.0  # s
_NEAR, _SLOW = 0.3, 0.5  # m and m/s: arrived
_GUSTS = 1.5  # m/s at 20 ft
_EIGHT = Lissajous((0.0, 0.0, 1.0), laps=2)
_FLIGHTS = {False: 10, True: 2}
_SCENES = {False: 40, True: 3}
Maker = Callable[[QuadrotorParameters, Scene | None], Controller]


def _observed(parameters: QuadrotorParameters, scene: Scene | None) -> NmpcController:
    model = LongStepQuadrotor(parameters, CommandLevel.CTBR, 0.04)
    estimator = DisturbanceFilter(model, estimator_noise("force"), DT)
    return NmpcController(parameters, CommandLevel.CTBR, 1.0 / DT, model=model, estimator=estimator)


_PEERS: dict[str, Maker] = {
    "geometric": lambda p, scene: GeometricController(p, CommandLevel.CTBR),
    "nmpc": lambda p, scene: NmpcController(p, CommandLevel.CTBR),
}
IN_WIND: dict[str, Maker] = {
    **_PEERS,
    "nmpc, force observer": _observed,
    "gp_cem without GP": lambda p, scene: GpCemController(p, learn=False),
    "gp_cem": lambda p, scene: GpCemController(p),
}
BLOCKED: dict[str, Maker] = {
    **_PEERS,
    "gp_cem, filter only after": lambda p, scene: GpCemController(p, scene=scene, within=False),
    "gp_cem, filter in the loop": lambda p, scene: GpCemController(p, scene=scene),
}


@dataclass(frozen=True)
class Flown:
    """A flight: path (n, 3) m, wanted (n, 3) m, calls (n,) s of the controller, arrived s or infinite, answers of the
    filter behind it."""

    path: Array
    wanted: Array
    calls: Array
    arrived: float
    answers: dict[Answer, int]


def fly(
    make: Maker, trajectory: Trajectory, wind: WindConfig, seed: int, until: float, scene: Scene | None = None,
    filtered: bool = True, goal: Array | None = None,
) -> Flown:  # fmt: skip
    """Flies a trajectory from rest at its start, in a scene with its filter behind the controller."""
    parameters = load_vehicle("crazyflie")
    controller, begin = make(parameters, scene), trajectory(0.0).position_w
    guard = None if scene is None else SafetyFilter(scene, parameters, 1.0 / DT)
    simulation = SimulationConfig(seed=seed, wind=wind, position_w=tuple(begin.tolist()))
    vehicle = make_vehicle("analytic", parameters, simulation)
    vehicle.connect()
    hover = np.full(4, parameters.hover_rotor_speed)
    vehicle.reset(QuadrotorState(begin, np.zeros(3), np.array([0.0, 0.0, 0.0, 1.0]), np.zeros(3), hover))
    vehicle.arm()
    path, wanted, calls, arrived = [], [], [], np.inf

    def at(t: float) -> Reference:
        return trajectory(min(t, trajectory.duration))

    for _ in range(round(until / DT)):
        state = vehicle.state()
        t = state.stamp
        reference = replace(at(t), ahead=lambda offset, t=t: at(t + offset))  # type: ignore[misc]
        before = time.perf_counter()
        command = controller(t, state, reference)
        calls.append(time.perf_counter() - before)
        vehicle.send(guard(state, command) if guard is not None and filtered else command)
        vehicle.step(DT)
        truth = vehicle.true_state()
        path.append(truth.position_w)
        wanted.append(at(vehicle.time).position_w)
        if goal is not None and np.linalg.norm(truth.position_w - goal) < _NEAR:
            if np.linalg.norm(truth.velocity_w) < _SLOW:
                arrived = vehicle.time
                break
    vehicle.close()
    answers = {} if guard is None else dict(guard.counts)
    return Flown(np.array(path), np.array(wanted), np.array(calls), arrived, answers)


def blocked(seed: int) -> tuple[Scene, WindConfig]:
    """A box across the straight way from start to goal, and a wind."""
    rng = np.random.default_rng((11, seed))
    along = (GOAL - START)[:2] / np.linalg.norm((GOAL - START)[:2])
    x, y = rng.uniform(-0.4, 0.4) * along + rng.uniform(-0.25, 0.25) * np.array([-along[1], along[0]])
    half = rng.uniform(0.15, 0.35, 2)
    box = Obstacle((x - half[0], y - half[1], 0.0), (x + half[0], y + half[1], 2.5), 0.0)
    angle, speed = rng.uniform(0.0, 2.0 * np.pi), rng.uniform(1.0, 3.0)
    walls = Walls((-3.2, 3.2), (-2.2, 2.2), (0.3, 2.2))
    wind = WindConfig((speed * np.cos(angle), speed * np.sin(angle), 0.0), wind_20ft=_GUSTS)
    return Scene(f"blocked {seed}", walls, (box,), Bounds(speed=2.0), Margin(wind=4.5)), wind


def wind_of(seed: int) -> WindConfig:
    """2 to 4 m/s from any side, with gusts."""
    rng = np.random.default_rng((12, seed))
    angle, speed = rng.uniform(0.0, 2.0 * np.pi), rng.uniform(2.0, 4.0)
    return WindConfig((speed * np.cos(angle), speed * np.sin(angle), 0.0), wind_20ft=_GUSTS)


def rmse(flown: Flown) -> float:
    """Of position over the laps at full speed, m."""
    error = (flown.path - flown.wanted)[round(_EIGHT.steady_interval[0] / DT) :]
    return float(np.sqrt(np.square(error).sum(axis=1).mean()))


def measure(seed: int, quick: bool) -> Findings:
    """Rows of both parts; details hold every flight's figure."""
    rows, details = [], {}
    count, calls = _FLIGHTS[quick], []
    for name, make in IN_WIND.items():
        flown = [fly(make, _EIGHT, wind_of(seed + k), seed + k, _EIGHT.steady_interval[1]) for k in range(count)]
        errors = [rmse(f) for f in flown]
        details[f"wind: {name}"] = errors
        rows.append(BenchRow(f"eight in {count} unknown winds", f"error, {name}", 1e3 * float(np.mean(errors)), "mm"))
    for name, make in BLOCKED.items():
        found = _through(make, seed, _SCENES[quick])
        rows += _rows(name, *found)
        if name == "gp_cem, filter in the loop":
            calls = [f.calls for f in found[0]]
    unfiltered = _through(lambda p, scene: GpCemController(p), seed, _SCENES[quick], filtered=False)
    hits = sum(c < 0.0 for c in unfiltered[1])
    rows.append(BenchRow(_title(_SCENES[quick]), "violations, gp_cem, no filter", float(hits), ""))
    times = 1e3 * np.concatenate(calls)
    # Every other call plans: the slower half.
    for share, label in ((75, "median call that plans"), (99, "call p99")):
        rows.append(BenchRow("gp_cem, filter in the loop", label, float(np.percentile(times, share)), "ms"))
    return Findings(rows, {"gp": details})


def _through(make: Maker, seed: int, count: int, filtered: bool = True) -> tuple[list[Flown], list[float]]:
    flown, clear = [], []
    for k in range(count):
        scene, wind = blocked(seed + k)
        flown.append(fly(make, straight(), wind, seed + k, PATIENCE, scene, filtered, GOAL))
        radius = SafetyFilter(scene, load_vehicle("crazyflie")).radius
        clear.append(float(hull_clearance(scene, flown[-1].path, radius).min()))
    return flown, clear


def _title(count: int) -> str:
    return f"straight way blocked, {count} scenes"


def _rows(name: str, flown: list[Flown], clear: list[float]) -> list[BenchRow]:
    title, arrived = _title(len(flown)), np.array([f.arrived for f in flown])
    there = np.isfinite(arrived)
    answers = {a: sum(f.answers[a] for f in flown) for a in Answer}
    return [
        BenchRow(title, f"violations, {name}", float(sum(c < 0.0 for c in clear)), ""),
        BenchRow(title, f"least clearance, {name}", 1e3 * min(clear), "mm"),
        BenchRow(title, f"goal reached, {name}", 100.0 * float(there.mean()), "%"),
        BenchRow(title, f"time to the goal, {name}", float(arrived[there].mean()) if there.any() else np.nan, "s"),
        BenchRow(title, f"commands braked, {name}", 100.0 * answers[Answer.FALLBACK] / sum(answers.values()), "%"),
    ]

"""The safety filter on a quadrotor in wind that its model does not know, through random scenes: control-stack bench
lipschitz. Each seed is flown with the filter and without, in the same scene and the same wind.

A filtered flight violates where its hull enters an obstacle, its centre leaves the fence, or it is faster or further
tilted than the limits by more than ``SPEED_SLACK`` and ``TILT_SLACK``. Unfiltered ones count by place alone.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from control_stack.artefacts.tables import BenchRow, Findings
from control_stack.protocols import Trajectory
from control_stack.quadrotor.parameters import QuadrotorParameters, load_vehicle
from control_stack.safety.barrier.filter import Answer, SafetyFilter
from control_stack.safety.barrier.scene import BarrierGains, Bounds, Margin, Obstacle, Scene, Walls
from control_stack.trajectories import connect
from control_stack.types import Array, CommandLevel, QuadrotorState, Reference
from controllers.geometric import GeometricController
from sim.config import SimulationConfig
from sim.factory import make_vehicle
from sim.wind import WindConfig

LEVELS = (CommandLevel.CTBR, CommandLevel.ROTORS)
START, GOAL = np.array([-2.4, -1.4, 1.2]), np.array([2.4, 1.4, 1.2])
DT, PATIENCE = 0.01, 12.0  # s
_NEAR = 0.3  # m from the goal, and _SLOW m/s, is arrived: the controller has no integral, and wind moves it
_SLOW = 0.5
_GUSTS = 1.5  # m/s at 20 ft
_WIND = 4.5  # m/s that the filter is told at most: 3 of steady wind and five standard deviations of these gusts
_SEEDS = {False: 300, True: 12}
SPEED_SLACK, TILT_SLACK = 0.02, 0.03  # of the limit, rad: what docs/safety.md says that loops may overshoot


@dataclass(frozen=True)
class Flown:
    """One flight.

    Attributes:
        level: Of its commands. clearance: Least distance of the hull (of the centre, at the fence), m.
        speed: The largest over the limit, 1. tilt: The largest less the limit, rad.
        time: s until it arrived, infinite if it did not. path: (n, 3) m. calls: s of each call of the filter.
    """

    level: CommandLevel
    clearance: float
    speed: float
    tilt: float
    time: float
    path: Array
    calls: list[float]
    answers: dict[Answer, int]

    @property
    def violates(self) -> bool:
        """Whether anything that the filter guards was broken."""
        return self.clearance < 0.0 or self.speed > 1.0 + SPEED_SLACK or self.tilt > TILT_SLACK


def scene_of(seed: int) -> tuple[Scene, WindConfig]:
    """Three obstacles beside the straight line from start to goal, most of which touch it, and a wind."""
    rng = np.random.default_rng((7, seed))
    along = (GOAL - START)[:2] / np.linalg.norm((GOAL - START)[:2])
    across = np.array([-along[1], along[0]])
    obstacles = []
    for place in (-1.5, 0.0, 1.5):
        size = rng.uniform(0.15, 0.3)
        aside = rng.choice([-1.0, 1.0]) * rng.uniform(0.4, 2.0) * (size + 0.07)
        x, y = (place + rng.uniform(-0.2, 0.2)) * along + aside * across
        kind = rng.integers(3)
        if kind == 0:
            obstacles.append(Obstacle((x, y, -np.inf), (x, y, np.inf), size))
        elif kind == 1:
            z = START[2] + rng.uniform(-0.5, 0.5) * size
            obstacles.append(Obstacle((x, y, z), (x, y, z), size))
        else:
            half = size * rng.uniform(0.6, 1.0, 2)
            obstacles.append(Obstacle((x - half[0], y - half[1], 0.0), (x + half[0], y + half[1], 2.5), 0.0))
    angle, speed = rng.uniform(0.0, 2.0 * np.pi), rng.uniform(1.0, 3.0)
    scene = Scene(
        f"seed {seed}",
        Walls((-3.2, 3.2), (-2.2, 2.2), (0.3, 2.2)),
        tuple(obstacles),
        Bounds(speed=2.0),
        Margin(wind=_WIND),
        BarrierGains(),
    )
    return scene, WindConfig((speed * np.cos(angle), speed * np.sin(angle), 0.0), wind_20ft=_GUSTS)


def hull_clearance(scene: Scene, path: Array, radius: float) -> Array:
    """(n,) m from the hull to obstacles and from the centre to the fence."""
    walls = Scene("walls", scene.fence).clearance(path)
    return np.minimum(walls, Scene("obstacles", obstacles=scene.obstacles).clearance(path) - radius)


def straight() -> Trajectory:
    """From start to goal and on to rest there, through whatever stands between."""
    return connect(Reference(START), Reference(GOAL), 1.8, 2.0)


def fly(
    scene: Scene, wind: WindConfig, seed: int, level: CommandLevel, filtered: bool, parameters: QuadrotorParameters
) -> Flown:
    """One flight through a scene; ``seed``: of the gusts."""
    guard = SafetyFilter(scene, parameters, 1.0 / DT)
    vehicle = make_vehicle("analytic", parameters, SimulationConfig(seed=seed, wind=wind, position_w=tuple(START)))
    vehicle.connect()
    hover = np.full(4, parameters.hover_rotor_speed)
    vehicle.reset(QuadrotorState(START, np.zeros(3), np.array([0.0, 0.0, 0.0, 1.0]), np.zeros(3), hover))
    vehicle.arm()
    controller, reference = GeometricController(parameters, level), straight()
    path, motion, calls, arrived = [], [], [], np.inf
    for _ in range(round(PATIENCE / DT)):
        state = vehicle.state()
        command = controller(state.stamp, state, reference(min(state.stamp, reference.duration)))
        if filtered:
            began = time.perf_counter()
            command = guard(state, command)
            calls.append(time.perf_counter() - began)
        vehicle.send(command)
        vehicle.step(DT)
        truth = vehicle.true_state()
        path.append(truth.position_w)
        motion.append((float(np.linalg.norm(truth.velocity_w)), tilt_of(truth.quat_xyzw)))
        close = np.linalg.norm(truth.position_w - GOAL) < _NEAR and np.linalg.norm(truth.velocity_w) < _SLOW
        if close:
            arrived = vehicle.time
            break
    vehicle.close()
    flown = np.array(path)
    least = float(hull_clearance(scene, flown, guard.radius).min())
    speed, tilt = np.array(motion).max(axis=0)
    over = float(speed / guard.speed), float(tilt - np.arctan(guard.slope))
    return Flown(level, least, *over, arrived, flown, calls, dict(guard.counts))


def tilt_of(quat_xyzw: Array) -> float:
    """Angle between the body's z axis and the world's, rad."""
    x, y = quat_xyzw[0], quat_xyzw[1]
    return float(np.arccos(np.clip(1.0 - 2.0 * (x * x + y * y), -1.0, 1.0)))


def measure(seed: int, quick: bool) -> Findings:
    """Rows for both levels together and for each: violations, arrivals, times, and what a call takes."""
    parameters = load_vehicle("crazyflie")
    plain, kept = [], []
    for k in range(_SEEDS[quick]):
        level = LEVELS[k % len(LEVELS)]
        scene, wind = scene_of(seed + k)
        plain.append(fly(scene, wind, seed + k, level, False, parameters))
        kept.append(fly(scene, wind, seed + k, level, True, parameters))
    return Findings(_rows(plain, kept), {"filter": _details(plain, kept)})


def _rows(plain: list[Flown], kept: list[Flown]) -> list[BenchRow]:
    name = f"filter, {len(kept)} seeds at ctbr and rotors"
    hit = np.array([f.clearance < 0.0 for f in plain])
    clean = np.array([f.time for f in plain])[~hit]
    clean = clean[np.isfinite(clean)]
    times = np.array([f.time for f in kept])
    calls = np.concatenate([f.calls for f in kept])
    answers = {a: sum(f.answers[a] for f in kept) for a in Answer}
    ratio = float(times[np.isfinite(times)].mean() / clean.mean()) if len(clean) else float("nan")
    rows = [
        BenchRow(name, "unfiltered flights that hit something", 100.0 * float(hit.mean()), "%", ">= 50"),
        BenchRow(name, "filtered flights that violate", float(sum(f.violates for f in kept)), "", "== 0"),
        BenchRow(name, "goal reached with filter", 100.0 * float(np.isfinite(times).mean()), "%", ">= 95"),
        BenchRow(name, "time over that of unfiltered flights that hit nothing", ratio, "x", "<= 1.3"),
        BenchRow(name, "commands changed", 100.0 * answers[Answer.CHANGED] / len(calls), "%"),
        BenchRow(name, "commands braked", 100.0 * answers[Answer.FALLBACK] / len(calls), "%"),
        BenchRow(name, "filter call p50", 1e3 * float(np.percentile(calls, 50)), "ms"),
        BenchRow(name, "filter call p99", 1e3 * float(np.percentile(calls, 99)), "ms", "<= 0.5"),
    ]
    for level in LEVELS:
        rows += _rows_of(level, [f for f in plain if f.level is level], [f for f in kept if f.level is level])
    return rows


def _rows_of(level: CommandLevel, plain: list[Flown], kept: list[Flown]) -> list[BenchRow]:
    """What was kept at one level, unfiltered flights as the peer."""
    name = f"filter, {len(kept)} seeds at {level.value}"
    own, peer = (100.0 * (max(f.speed for f in flights) - 1.0) for flights in (kept, plain))
    own_tilt, peer_tilt = (float(np.degrees(max(f.tilt for f in flights))) for flights in (kept, plain))
    return [
        BenchRow(name, "filtered flights that violate", float(sum(f.violates for f in kept)), "", "== 0"),
        BenchRow(name, "least clearance", 1e3 * min(f.clearance for f in kept), "mm", ">= 0",
                 1e3 * min(f.clearance for f in plain)),
        BenchRow(name, "largest speed over the limit", own, "%", f"<= {100.0 * SPEED_SLACK:g}", peer),
        BenchRow(name, "largest tilt over the limit", own_tilt, "deg", f"<= {np.degrees(TILT_SLACK):.3g}",
                 peer_tilt),
        BenchRow(name, "goal reached", 100.0 * float(np.mean([np.isfinite(f.time) for f in kept])), "%"),
    ]  # fmt: skip


def _details(plain: list[Flown], kept: list[Flown]) -> dict[str, Any]:
    names = {"clearance_m": "clearance", "speed_over_limit": "speed", "tilt_over_limit_rad": "tilt", "time_s": "time"}
    return {
        "level": [f.level.value for f in kept],
        **{
            key: {"unfiltered": [getattr(f, n) for f in plain], "filtered": [getattr(f, n) for f in kept]}
            for key, n in names.items()
        },
    }

"""Robust MPC with a tube on a quadrotor in wind that its model does not know, planning anew twice a second.

A Crazyflie holds its height and is asked to fly into a corner, to goals behind both walls. The model is learned from
flights in still air: an affine step, and a residual whose certified constant bounds that alone. The feedback is an LQR.
Noise is conformal over whole flights.

Flights of calibration and test follow one law and are exchangeable: starts, goals and winds drawn alike, plans
with the margins of a provisional tube, and the feedback. The norm and the provisional tube come from flights of their
own, without margins. Wind and vehicle are the same for NMPC and the mixed-integer planner, whose model has ReLUs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.linalg import solve_discrete_are
from scipy.stats import beta

from benchmarks import lipschitz_wind as air
from control_stack.artefacts.tables import BenchRow, Findings
from control_stack.errors import InvalidInput
from control_stack.learning.data import Dataset, dataset
from control_stack.learning.lipschitz.dynamics import LipschitzDynamics
from control_stack.learning.lipschitz.tube import Tube, conformal_noise, contracting_shape, growth, tube
from control_stack.types import Array
from controllers.tube_following import Planner, TubeFollower

DELTA = 0.1
WALLS = np.array([1.0, 0.5])  # m, in x and y
FASTEST, PUSH = 1.5, 3.0  # m/s, m/s^2, along each axis
EVERY = 5  # steps between two plans
ROWS = np.vstack([np.eye(4, 8), -np.eye(2, 8, 2)])
UPPER = np.concatenate([WALLS, np.full(4, FASTEST)])
_WEIGHTS, _EFFORT = np.array([20.0, 20.0, 2.0, 2.0, 1e-2, 1e-2, 1e-4, 1e-4]), np.full(2, 0.3)  # of the LQR
_TRIED, _SPREAD = 500, 1.2  # norms, and how far their lengths are spread (standard deviation of the logarithm)
_PROVISIONAL = 1.2
_EXACT = 1e-5  # m, m/s: what a plan's rollout may lack of its margins


@dataclass(frozen=True)
class Setting:
    """What differs between the planners: name of the rows, steps of a plan and of a flight, flights of calibration and
    test, and how planners are made of a tube."""

    name: str
    horizon: int
    steps: int
    calibrated: int
    tested: int
    planner: Callable[[LipschitzDynamics, Tube], Planner]


@dataclass(frozen=True)
class Driven:
    """Flights with their followers: states (N, steps + 1, 8), inputs (N, steps, 2), path (N, n, 2) m between samples,
    distances from the plan in the norm P (N, steps) and ages of the plan (N, steps), plans due that were not found."""

    states: Array
    inputs: Array
    path: Array
    deviation: Array
    age: Array
    kept: int
    due: int


def calm_flights(seed: int, count: int = 80, steps: int = 60) -> Dataset:
    """What the models are learned from: sums of sines and noise, held to the middle, in still air."""
    random = np.random.default_rng(seed)
    frequency, phase = random.uniform(0.5, 4.0, (count, 3, 2)), random.uniform(0.0, 2.0 * np.pi, (count, 3, 2))
    size = random.uniform(0.2, 1.0, (count, 3, 2))

    def law(k: int, x: Array) -> Array:
        asked = (size * np.sin(frequency * k * air.DT + phase)).sum(1) + 0.4 * random.standard_normal((count, 2))
        return np.clip(asked - x[:, :2] - 1.5 * x[:, 2:4], -PUSH, PUSH)

    flown = air.fly(random.uniform(-0.5, 0.5, (count, 2)), air.calm(count, steps), law, steps)
    return dataset(list(zip(flown.states, flown.inputs, strict=True)), air.SPEC)


def learned(seed: int, quick: bool, activation: Any, widths: tuple[int, ...]) -> LipschitzDynamics:
    """The certified model."""
    from control_stack.learning.lipschitz.fit import problem
    from control_stack.learning.lipschitz.fitting import Recipe

    found = problem(calm_flights(seed), "linear", [], seed)
    updates = 300 if quick else 1500
    course = found.course(Recipe(gamma=0.5, widths=widths, activation=activation, updates=updates, seed=seed))
    course.advance(updates)
    return found.model(course)


def lqr(model: LipschitzDynamics, weights: Array = _WEIGHTS, effort: Array = _EFFORT) -> Array:
    """The feedback on the affine step, of weights (nx,) and (nu,)."""
    a, b = model.matrix[:, : model.nx], model.matrix[:, model.nx : model.nx + model.nu]
    p = solve_discrete_are(a, b, np.diag(weights), np.diag(effort))
    return np.asarray(-np.linalg.solve(b.T @ p @ b + np.diag(effort), b.T @ p @ a))


def _radius(model: LipschitzDynamics, feedback: Array) -> float:
    """Of the nominal loop's spectrum."""
    loop = model.matrix[:, : model.nx] + model.matrix[:, model.nx : model.nx + model.nu] @ feedback
    return float(np.abs(np.linalg.eigvals(loop)).max())


def fitting_shape(model: LipschitzDynamics, feedback: Array, states: Array, inputs: Array, horizon: int) -> Array:
    """T of the norm in which the tube of these flights leaves most room, of ``_TRIED`` that contract.

    Room is counted at walls, speed and inputs together, in parts of what there is. Flights of calibration and test
    must be others than these.

    Raises:
        InvalidInput: No tube in any of the norms; the message has the least rho + dt c gamma_res, and of what it is.
    """
    random, radius = np.random.default_rng(0), _radius(model, feedback)
    best, least, found = np.inf, np.inf, None
    for _ in range(_TRIED):
        lengths = np.repeat(np.exp(_SPREAD * random.standard_normal(4)), 2) * model.certificate.input_scale[: model.nx]
        rate = radius + random.uniform(0.02, 0.6) * (1.0 - radius)
        shape = contracting_shape(model, feedback, rate, lengths)
        least = min(least, sum(growth(model, feedback, shape)))
        if sum(growth(model, feedback, shape)) >= 1.0:
            continue
        t = tube(model, feedback, shape, conformal_noise(model, shape, states, inputs, DELTA))
        radii = t.radii(horizon)
        walls, pushes = t.state_margins(radii, ROWS)[-1], t.input_margins(radii, np.eye(2))[-1]
        score = float((walls / UPPER).max() + (pushes / PUSH).max())
        if score < best:
            best, found = score, shape
    if found is None:
        raise InvalidInput(f"rho + dt c gamma_res is {least:.4g} or more in all norms")
    return found


def of_shipped(task: str) -> BenchRow:
    """The least rho + dt c gamma_res that LQRs and norms give a shipped model: above 1 it takes no tube."""
    from control_stack.learning.shipped import lipschitz_model_of

    model = LipschitzDynamics.load(lipschitz_model_of(task))
    random, nx, nu = np.random.default_rng(0), model.nx, model.nu
    scale, least = model.certificate.input_scale, np.inf
    for _ in range(_TRIED):
        weights = np.exp(_SPREAD * random.standard_normal(nx)) / scale[:nx] ** 2
        effort = np.exp(2.0 * _SPREAD * random.standard_normal()) / scale[nx : nx + nu] ** 2
        feedback = lqr(model, weights, effort)
        radius = _radius(model, feedback)
        if not radius < 1.0:
            continue
        lengths = np.exp(_SPREAD * random.standard_normal(nx)) * scale[:nx]
        rate = radius + random.uniform(0.02, 0.9) * (1.0 - radius)
        least = min(least, sum(growth(model, feedback, contracting_shape(model, feedback, rate, lengths))))
    return BenchRow(f"{task}, shipped model", f"least rho + dt c gamma_res of {_TRIED} feedbacks and norms", least, "1")


def nmpc_planner(model: LipschitzDynamics, margins: Tube) -> Planner:
    """Plans by NMPC; for a tube without noise, those of a plain one with soft limits, which always answers."""
    from controllers.nmpc.problem import Constraint, Problem
    from controllers.nmpc.solver import Nmpc, Settings
    from controllers.nmpc.tube import with_tube

    horizon = NMPC_HORIZON
    base = Problem(
        model, horizon, lambda x, u, p, y: _column(x[0] - y[0], x[1] - y[1], 0.3 * x[2], 0.3 * x[3]),
        lambda x, p, y: _column(5.0 * (x[0] - y[0]), 5.0 * (x[1] - y[1]), x[2], x[3]), 2,
        np.full(2, -PUSH), np.full(2, PUSH), np.zeros(2), input_change=np.full(2, 0.1),
    )  # fmt: skip
    if not margins.noise:
        soft = Constraint("limits", lambda x, u, p, y: _rows(x), np.full(len(ROWS), -np.inf), UPPER, soft=1e3)
        plain = Nmpc(replace(base, constraints=(soft,)), lambda x, p: np.zeros(2), Settings("sqp"))

        def wish(x: Array, goal: Array) -> Array | None:
            plain.reset()
            found = plain.solve(x, np.tile(goal, (horizon + 1, 1)))
            return None if found.fell_back else found.inputs

        return wish
    robust = with_tube(base, margins, ROWS, UPPER)
    solver = Nmpc(robust.problem, lambda x, p: np.zeros(2), Settings("sqp"))

    room = margins.state_margins(margins.radii(horizon), ROWS)[1:]

    def plan(x: Array, goal: Array) -> Array | None:
        solver.reset()  # one solver serves all flights
        found = solver.solve(x, robust.reference(np.tile(goal, (horizon + 1, 1))))
        if found.fell_back:
            return None
        keeps = (model.rollout(x, found.inputs)[1:] @ ROWS.T + room <= UPPER + _EXACT).all()
        return found.inputs if keeps else None

    return plan


def mip_planner(model: LipschitzDynamics, margins: Tube) -> Planner:
    """Plans by mixed-integer programming."""
    from control_stack.learning.spec import Goal, TaskSpec
    from controllers.planning.mip import MipPlanner
    from controllers.planning.problem import TOLERANCE, LinearConstraint, Problem
    from controllers.planning.tube import relu_model, with_tube

    far = np.array([5.0, 5.0, 5.0, 5.0, 20.0, 20.0, 200.0, 200.0])
    spec = TaskSpec(
        **vars(model.spec), task="corner", keypoints=(), state_lower=-far, state_upper=far,
        input_lower=np.full(2, -PUSH), input_upper=np.full(2, PUSH),
        output_names=("x [m]", "y [m]"), outputs=np.eye(2, 8), weights=np.ones(2),
    )  # fmt: skip
    kept = LinearConstraint("walls and speed", ROWS, np.full(len(ROWS), -np.inf), UPPER)
    base = Problem(relu_model(model, spec), MIP_HORIZON, constraints=(kept,), effort=np.full(2, 0.01))
    planner = MipPlanner(with_tube(base, model, margins).problem, max_nodes=200, samples=0)

    def plan(x: Array, goal: Array) -> Array | None:
        found = planner.plan(x, Goal(goal, np.full(2, 0.01), np.zeros(2)))
        return found.inputs if found.status in ("optimal", "feasible") and found.violation <= TOLERANCE else None

    return plan


NMPC_HORIZON, MIP_HORIZON = 20, 8


def settings(quick: bool) -> Sequence[Setting]:
    """NMPC in full, and the mixed-integer planner on fewer flights."""
    few = (20, 10) if quick else (200, 300), (10, 6) if quick else (30, 60)
    return (
        Setting("quadrotor in wind, tube NMPC", NMPC_HORIZON, 20 if quick else 60, *few[0], nmpc_planner),
        Setting("quadrotor in wind, tube MIP", MIP_HORIZON, 10 if quick else 30, *few[1], mip_planner),
    )


def drive(model: LipschitzDynamics, margins: Tube, s: Setting, random: np.random.Generator, count: int) -> Driven:
    """Flights of the law: plans with these margins, and the feedback."""
    starts = random.uniform(-0.3, 0.3, (count, 2))
    goals = WALLS + random.uniform(0.0, 0.5, (count, 2))
    wind = air.winds(random, count, s.steps)
    plan = s.planner(model, margins)
    followers = [TubeFollower(model, margins, plan, s.horizon, EVERY) for _ in range(count)]
    deviation, age = [], []

    def law(k: int, x: Array) -> Array:
        inputs = [follower(row, goal) for follower, row, goal in zip(followers, x, goals, strict=True)]
        deviation.append([follower.deviation for follower in followers])
        age.append([follower.age for follower in followers])
        return np.array(inputs)

    flown = air.fly(starts, wind, law, s.steps)
    kept, planned = (sum(getattr(f, name) for f in followers) for name in ("kept", "planned"))
    return Driven(
        flown.states, flown.inputs, flown.path, np.array(deviation).T, np.array(age).T, kept, kept + planned
    )  # fmt: skip


def crossed(driven: Driven) -> Array:
    """(N,) whether a wall was crossed at any time, between samples too, or a limit of speed at one."""
    walls = (driven.path > WALLS).any((1, 2))
    return np.asarray(walls | (driven.states @ ROWS.T > UPPER).any((1, 2)))


def binomial(hits: int, count: int) -> tuple[float, float]:
    """Clopper and Pearson's 95 % interval of a share."""
    low = float(beta.ppf(0.025, hits, count - hits + 1)) if hits else 0.0
    return low, float(beta.ppf(0.975, hits + 1, count - hits)) if hits < count else 1.0


def robust(seed: int, quick: bool) -> Findings:
    """Tube sizes, how often whole flights stay within them, and how often they break a constraint with and without."""
    rows = [of_shipped(task) for task in ("planar-quadrotor", "cartpole")]
    details: dict[str, Any] = {}
    for setting, kind in zip(settings(quick), (("tanh", (16, 16)), ("relu", (6,))), strict=True):
        model = learned(seed, quick, *kind)
        found, radii = _measured(model, setting, seed)
        rows += found
        details[setting.name] = radii
    return Findings(rows, details)


def _measured(model: LipschitzDynamics, s: Setting, seed: int) -> tuple[list[BenchRow], dict[str, Any]]:
    random, feedback = np.random.default_rng(seed), lqr(model)

    def noise(flights: Driven) -> float:
        return conformal_noise(model, shape, flights.states, flights.inputs, DELTA)

    try:
        shape = contracting_shape(model, feedback)
        first = drive(model, tube(model, feedback, shape, 0.0), s, random, s.calibrated)
        shape = fitting_shape(model, feedback, first.states, first.inputs, s.horizon)
    except InvalidInput as refusal:  # its message has the number
        return [BenchRow(s.name, f"rho + dt c gamma_res ({refusal})", float("nan"), "1", "< 1")], {}
    none = tube(model, feedback, shape, 0.0)
    provisional = replace(none, noise=_PROVISIONAL * noise(first))
    # With margins flights are others than without: once more.
    least = _PROVISIONAL * noise(drive(model, provisional, s, random, s.calibrated))
    provisional = replace(none, noise=max(provisional.noise, least))
    found = replace(none, noise=noise(drive(model, provisional, s, random, s.calibrated)))
    tested, plain = (drive(model, margins, s, random, s.tested) for margins in (provisional, none))
    radii = found.radii(s.horizon)
    inside = (tested.deviation <= radii[tested.age] * (1.0 + 1e-9) + 1e-12).all(1)
    broken, without = crossed(tested), crossed(plain)
    margins = found.state_margins(radii, ROWS)
    rows = [
        BenchRow(s.name, "rho + dt c gamma_res", found.growth, "1", "< 1"),
        BenchRow(s.name, "of it rho", found.rho, "1"),
        BenchRow(s.name, "noise over that of the provisional tube, whose margins are flown",
                 found.noise / provisional.noise, "1", "<= 1"),
        BenchRow(s.name, f"of {s.tested} whole flights inside the tube", float(inside.mean()), "1", f">= {1 - DELTA:g}",
                 interval=binomial(int(inside.sum()), s.tested)),
        BenchRow(s.name, "flights that break a constraint, peer: without tube", float(broken.mean()), "1",
                 f"<= {DELTA:g}", float(without.mean()), binomial(int(broken.sum()), s.tested),
                 binomial(int(without.sum()), s.tested)),
        *(BenchRow(s.name, f"room at a wall {k} steps ahead", 100.0 * float(margins[k, 0]), "cm")
          for k in sorted({1, EVERY, s.horizon // 2, s.horizon})),
        BenchRow(s.name, "largest error over the radius", float(
            (tested.deviation / np.maximum(radii[tested.age], 1e-12))[tested.age > 0].max()), "1"),
        BenchRow(s.name, "plans that were due and not found, peer: without tube", tested.kept / tested.due, "1", None,
                 plain.kept / plain.due),
    ]  # fmt: skip
    return rows, {"radii": radii, "room_at_a_wall_m": margins[:, 0], "feedback": feedback, "residual": found.residual}


def _column(*entries: Any) -> Any:
    import casadi as ca

    return ca.vertcat(*entries)


def _rows(x: Any) -> Any:
    import casadi as ca

    return ca.mtimes(ca.DM(ROWS), x)

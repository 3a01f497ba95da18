"""Robust NMPC with a tube: a cart in gusts that its model does not know, driven close to a wall.

    v' = u - d1 v - d2 v |v| + gust,   |x| and |v| limited; goals lie behind the wall at 1 m

The model is learned from calm drives: an affine step and a certified residual. Noise is conformal over whole drives.
All drives of calibration and test follow one law, so that they are exchangeable: plans with margins of a provisional
tube, which drives of its own gave, and the ancillary feedback.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from control_stack.artefacts.tables import BenchRow, Findings
from control_stack.errors import InvalidInput
from control_stack.learning.data import Dataset, dataset
from control_stack.learning.lipschitz.dynamics import LipschitzDynamics
from control_stack.learning.lipschitz.tube import Tube, conformal_noise, contracting_shape, tube
from control_stack.protocols import DynamicsSpec
from control_stack.types import Array

DT, _PARTS, STEPS = 0.1, 10, 25
DRAG, SPEED_DRAG = 0.3, 0.15  # 1/s, 1/m
GUST, KEPT = 0.1, 0.9  # m/s^2 standard deviation, of a gust that is left after a step
WALL, FASTEST, FORCE = 1.0, 1.5, 4.0  # m, m/s, m/s^2
FEEDBACK = np.array([[-9.0, -5.5]])
DELTA = 0.1
SPEC = DynamicsSpec(("x [m]", "v [m/s]"), ("force over mass [m/s^2]",), (), np.zeros(0), DT)
ROWS = np.array([[1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
UPPER = np.array([WALL, FASTEST, FASTEST])


def advance(x: Array, u: Array, gust: Array) -> Array:
    """(..., 2), (..., 1), (...,) -> (..., 2)."""
    p, v = x[..., 0], x[..., 1]
    for _ in range(_PARTS):
        v = v + DT / _PARTS * (u[..., 0] - DRAG * v - SPEED_DRAG * v * np.abs(v) + gust)
        p = p + DT / _PARTS * v
    return np.stack([p, v], -1)


def gusts(random: np.random.Generator, count: int) -> Array:
    """(count, STEPS) of one law: each drive has winds of its own."""
    wind = [GUST * random.standard_normal(count)]
    for _ in range(STEPS - 1):
        wind.append(KEPT * wind[-1] + (1.0 - KEPT**2) ** 0.5 * GUST * random.standard_normal(count))
    return np.stack(wind, -1)


def calm_drives(seed: int) -> Dataset:
    """What the model is learned from."""
    random = np.random.default_rng(seed)
    x = random.uniform([-1.0, -1.5], [1.0, 1.5], (100, 2))
    states, inputs = [x], []
    for _ in range(30):
        u = np.clip(random.normal(size=(100, 1)) * 2.0 - x[:, :1] - x[:, 1:], -FORCE, FORCE)
        x = advance(x, u, np.zeros(100))
        states.append(x)
        inputs.append(u)
    return dataset(list(zip(np.stack(states, 1), np.stack(inputs, 1), strict=True)), SPEC)


def learned(seed: int, quick: bool) -> LipschitzDynamics:
    """The certified model."""
    from control_stack.learning.lipschitz.fit import problem
    from control_stack.learning.lipschitz.fitting import Recipe

    found = problem(calm_drives(seed), "linear", [], seed)
    course = found.course(Recipe(widths=(12, 12), activation="tanh", updates=500 if quick else 2000, seed=seed))
    course.advance(course.recipe.updates)
    return found.model(course)


class Driver:
    """Plans by NMPC, flown with the feedback.

    Args:
        model: Of the plans. margins: Tube that they leave room for; None: none.
    """

    def __init__(self, model: LipschitzDynamics, margins: Tube | None):
        from controllers.nmpc.problem import Constraint, Problem
        from controllers.nmpc.solver import Nmpc, Settings
        from controllers.nmpc.tube import with_tube

        free = np.full(len(UPPER), -np.inf)
        plain = () if margins else (Constraint("wall", lambda x, u, p, y: _rows(x), free, UPPER),)
        base = Problem(
            model, STEPS, lambda x, u, p, y: x[0] - y[0], lambda x, p, y: 5.0 * (x[0] - y[0]), 1,
            np.array([-FORCE]), np.array([FORCE]), np.zeros(1), input_change=np.array([0.05]), constraints=plain,
        )  # fmt: skip
        self._robust = with_tube(base, margins, ROWS, UPPER) if margins else None
        self._solver = Nmpc(self._robust.problem if self._robust else base, lambda x, p: np.zeros(1), Settings("sqp"))

    def drive(self, random: np.random.Generator, count: int) -> tuple[Array, Array, Array]:
        """States x, plans z (count, STEPS + 1, 2) and inputs u (count, STEPS, 1)."""
        starts = random.uniform([-0.3, -0.3], [0.3, 0.3], (count, 2))
        wind = gusts(random, count)
        goals = random.uniform(1.0, 1.5, count)
        plans = []
        for start, goal in zip(starts, goals, strict=True):
            y = np.full((STEPS + 1, 1), goal)
            self._solver.reset()
            plan = self._solver.solve(start, self._robust.reference(y) if self._robust else y)
            if plan.fell_back:
                raise InvalidInput(f"no plan from {start}: {plan.reason}")
            plans.append(plan)
        z, v = np.stack([plan.states for plan in plans]), np.stack([plan.inputs for plan in plans])
        x, inputs = [starts], []
        for k in range(STEPS):
            inputs.append(np.clip(v[:, k] + (x[-1] - z[:, k]) @ FEEDBACK.T, -FORCE, FORCE))
            x.append(advance(x[-1], inputs[-1], wind[:, k]))
        return np.stack(x, 1), z, np.stack(inputs, 1)


def robust(seed: int, quick: bool) -> Findings:
    """Tube sizes, and how often whole drives stay within them and off the wall."""
    model = learned(seed, quick)
    shape = contracting_shape(model, FEEDBACK)
    random = np.random.default_rng(seed)
    calibrated, tested = (40, 60) if quick else (300, 500)
    states, _, inputs = Driver(model, None).drive(random, calibrated)
    provisional = tube(model, FEEDBACK, shape, 1.2 * conformal_noise(model, shape, states, inputs, DELTA))
    driver = Driver(model, provisional)
    states, _, inputs = driver.drive(random, calibrated)
    found = tube(model, FEEDBACK, shape, conformal_noise(model, shape, states, inputs, DELTA))
    x, z, _ = driver.drive(random, tested)
    radii = found.radii(STEPS)
    errors = np.linalg.norm((x - z) @ shape.T, axis=-1)
    inside = (errors <= radii * (1.0 + 1e-9)).all(1)
    plain, _, _ = Driver(model, None).drive(random, tested)
    margin = found.state_margins(radii, ROWS)[-1]
    test = "cart in gusts, tube NMPC"
    crossed, plain_crossed = (float((flown[..., 0] > WALL).any(1).mean()) for flown in (x, plain))
    rows = [
        BenchRow(test, "rho + dt c gamma_res", found.growth, "1", "< 1"),
        BenchRow(test, "of it rho", found.rho, "1"),
        BenchRow(test, "noise over that of the provisional tube", found.noise / provisional.noise, "1", "<= 1"),
        BenchRow(test, "whole drives inside the tube", float(inside.mean()), "1", f">= {1.0 - DELTA:g}"),
        BenchRow(test, "drives across the wall, peer: without tube", crossed, "1", f"<= {DELTA:g}", plain_crossed),
        BenchRow(test, f"room at the wall after {STEPS} steps", 100.0 * float(margin[0]), "cm"),
        BenchRow(test, "largest error over the radius", float((errors[:, 1:] / radii[1:]).max()), "1"),
    ]
    return Findings(rows, {"radii": radii, "position_margin_m": found.state_margins(radii, ROWS)[:, 0]})


def _rows(x: Any) -> Any:
    import casadi as ca

    return ca.mtimes(ca.DM(ROWS), x)

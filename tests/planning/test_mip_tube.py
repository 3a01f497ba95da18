"""Tube planning: plans give way by the margins; flown against the worst disturbances they hold, plain ones do not."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from lipschitz_models import linear_model, random_model
from mip_toys import VALUES, enumerated, walled
from sampling_toys import point

from control_stack.bounds import Box
from control_stack.errors import InvalidInput
from control_stack.learning.lipschitz.dynamics import LipschitzDynamics
from control_stack.learning.lipschitz.tube import Tube, contracting_shape, tube
from control_stack.learning.spec import Goal, TaskSpec
from controllers.planning.mip import MipPlanner
from controllers.planning.problem import TOLERANCE, LinearConstraint, Obstacle, Problem
from controllers.planning.tube import relu_model, with_tube

DT, HORIZON, NOISE, FORCE = 0.2, 8, 0.03, 4.0
# Two carts, [x, y, vx, vy] with a force on each.
A = np.block([[np.eye(2), DT * np.eye(2)], [np.zeros((2, 2)), np.eye(2)]])
B = np.vstack([0.5 * DT**2 * np.eye(2), DT * np.eye(2)])
K = np.hstack([-6.0 * np.eye(2), -4.0 * np.eye(2)])
PLACE = np.eye(2, 4)
GOAL = Goal(np.array([1.5, 0.0]), np.full(2, 0.01), np.zeros(2))  # behind the wall
START = np.array([0.0, 0.05, 0.0, 0.0])


def carts(bend: float = 0.05) -> LipschitzDynamics:
    """With a residual of a given steepness."""
    model = linear_model(A, inputs=2, bend=bend)
    return replace(model, spec=replace(model.spec, dt=DT), matrix=np.hstack([A, B]))


def task(model: LipschitzDynamics) -> TaskSpec:
    far = np.full(4, 5.0)
    return TaskSpec(
        **vars(model.spec), task="carts", keypoints=(), state_lower=-far, state_upper=far,
        input_lower=np.full(2, -FORCE), input_upper=np.full(2, FORCE), output_names=("x [m]", "y [m]"),
        outputs=PLACE, weights=np.ones(2),
    )  # fmt: skip


def problem(model: LipschitzDynamics, **changes) -> Problem:
    """A wall at x = 1, a limit on the speed with the force, and a square post in the way."""
    wall = LinearConstraint("wall", PLACE[:1], np.array([-np.inf]), np.array([1.0]))
    speed = LinearConstraint(
        "speed", np.eye(4)[2:], np.full(2, -2.0), np.full(2, 2.0), 0.05 * np.eye(2)
    )  # fmt: skip
    normals = np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    post = Obstacle("post", PLACE[None], normals, normals @ [0.5, 0.0] + 0.15)
    given = {"constraints": (wall, speed), "obstacles": (post,), **changes}
    return Problem(relu_model(model, task(model)), HORIZON, effort=np.full(2, 0.01), **given)


def flown(model, found, plan, push):
    """States and inputs with the feedback, against disturbances of the stated size in directions ``push`` (N, T, 4)."""
    size = np.linalg.norm(push @ found.shape.T, axis=-1, keepdims=True)
    x = np.tile(plan.states[0], (len(push), 1))
    states, inputs = [x], []
    for k in range(HORIZON):
        inputs.append(plan.inputs[k] + (x - plan.states[k]) @ found.feedback.T)
        x = model.step(x, inputs[-1]) + NOISE * push[:, k] / size[:, k]
        states.append(x)
    return np.stack(states, 1), np.stack(inputs, 1)


def pushes(problem: Problem, found: Tube, random: np.random.Generator, count: int) -> np.ndarray:
    """The worst towards every side that there is, alone and with noise, then any."""
    rows = [c.state for c in problem.constraints] + [-o.normals @ p for o in problem.obstacles for p in o.points]
    metric = found.shape.T @ found.shape
    found_so_far = [random.standard_normal((10 * count, HORIZON, 4))]
    for row, sign in itertools.product(np.vstack([*rows, np.eye(2, 4, 2)]), (1.0, -1.0)):
        worst = sign * np.linalg.solve(metric, row)  # of |T w| = 1 it goes furthest along the row
        noise = 0.3 * np.linalg.norm(worst) * random.standard_normal((count, HORIZON, 4))
        found_so_far += [np.tile(worst, (1, HORIZON, 1)), worst + noise]
    return np.concatenate(found_so_far)


def planned(of: Problem):
    with MipPlanner(of, max_nodes=0, samples=300) as planner:
        return planner.plan(START, GOAL)


def test_a_tightened_plan_holds_against_the_worst_and_a_plain_one_does_not():
    model = carts()
    found = tube(model, K, contracting_shape(model, K), NOISE)
    plain = problem(model)
    robust = with_tube(plain, model, found)
    plans = {"plain": planned(plain), "robust": planned(robust.problem)}
    radii = found.radii(HORIZON)
    broken: dict[str, set[str]] = {name: set() for name in plans}
    for name, plan in plans.items():
        assert plan.status in ("optimal", "feasible")
        states, inputs = flown(model, found, plan, pushes(plain, found, np.random.default_rng(0), 100))
        errors = np.linalg.norm((states - plan.states) @ found.shape.T, axis=-1)
        assert (errors <= radii * (1.0 + 1e-9) + 1e-12).all()
        broken[name] |= {k for k, v in plain.violations(states, inputs).items() if v.max() > 1e-9}
        broken[name] |= {"force"} if np.abs(inputs).max() > FORCE + 1e-9 else set()
    assert broken["robust"] == set()
    assert {"wall", "post"} <= broken["plain"]
    margin = found.state_margins(radii, PLACE[:1])[-1, 0]
    assert plans["robust"].states[-1, 0] > 1.0 - margin - 0.02  # no more room than is needed
    command = robust.command(plan.inputs[1], plan.states[1], states[0, 1])
    np.testing.assert_allclose(command, inputs[0, 1], atol=1e-12)


def test_margins_are_those_of_the_tube_and_nothing_is_tightened_without_one():
    model = carts()
    shape = contracting_shape(model, K)
    plain = problem(model)
    found = tube(model, K, shape, NOISE)
    tight = with_tube(plain, model, found, first=0.01).problem
    radii = found.radii(HORIZON, 0.01)
    assert (tight.input_margins == found.input_margins(radii, np.eye(2))[:-1]).all() and tight.input_margins[0, 0] > 0.0
    wall, speed = tight.constraints
    np.testing.assert_allclose(1.0 - wall.upper, found.state_margins(radii, PLACE[:1])[1:] + TOLERANCE, rtol=1e-9)
    expected = found.state_margins(radii, speed.state)[1:] + found.input_margins(radii, 0.05 * np.eye(2))[:-1]
    np.testing.assert_allclose(2.0 - speed.upper, expected + TOLERANCE, rtol=1e-9)
    np.testing.assert_allclose(speed.lower, -speed.upper)
    post = tight.obstacles[0]
    grown = post.offsets[:, 0] - plain.obstacles[0].offsets
    np.testing.assert_allclose(grown, found.state_margins(radii, post.normals @ PLACE)[1:] + TOLERANCE, rtol=1e-9)
    box = Box(np.full(6, -3.0), np.full(6, 3.0))
    local = tube(model, K, shape, NOISE, box)
    states, inputs = with_tube(plain, model, local).problem.constraints[2:]
    radii = local.radii(HORIZON)
    np.testing.assert_allclose(3.0 - states.upper, local.state_margins(radii, np.eye(4))[1:] + TOLERANCE)
    np.testing.assert_allclose(inputs.lower + 3.0, local.input_margins(radii, np.eye(2))[:-1] + TOLERANCE)
    calm = with_tube(plain, model, tube(model, K, shape, 0.0)).problem
    assert not calm.input_margins.any()
    np.testing.assert_allclose(calm.constraints[0].upper, 1.0 - TOLERANCE)


def test_the_planners_model_is_the_certified_one():
    for seed in range(4):
        model = random_model(seed, states=3, inputs=2, parameters=seed % 2)
        spec = TaskSpec(
            **vars(model.spec), task="any", keypoints=(), state_lower=np.full(3, -1.0), state_upper=np.ones(3),
            input_lower=np.full(2, -1.0), input_upper=np.ones(2), output_names=("y",), outputs=np.eye(1, 3),
            weights=np.ones(1),
        )  # fmt: skip
        random = np.random.default_rng(seed)
        x, u, p = random.standard_normal((50, 3)), random.standard_normal((50, 2)), random.standard_normal(seed % 2)
        scale = np.abs(model.step(x, u, p)).max()
        np.testing.assert_allclose(relu_model(model, spec, p).step(x, u), model.step(x, u, p), atol=1e-12 * scale)
        np.testing.assert_allclose(relu_model(model, spec).step(x, u), model.step(x, u), atol=1e-12 * scale)
    smooth = random_model(0, activation="tanh", parameters=0)
    with pytest.raises(InvalidInput, match="needs a model with ReLUs, this one has tanh"):
        relu_model(smooth, spec)
    with pytest.raises(InvalidInput, match="states, inputs or time step are not those of the model"):
        relu_model(model, replace(spec, dt=0.5))


def changing(seed: int, **options):
    """A walled case whose sides, obstacle and input limits differ from step to step."""
    found, x0, goal, before = walled(seed, **options)
    random = np.random.default_rng(3000 + seed)
    T = found.horizon
    limit, post = found.constraints[0], found.obstacles[0]
    limit = replace(limit, lower=np.full((T, 1), -np.inf), upper=limit.upper - random.uniform(0.0, 0.1, (T, 1)))
    post = replace(post, offsets=post.offsets + random.uniform(0.0, 0.1, (T, 1, 4)))
    margins = random.uniform(0.0, 0.1, (T, 2)) if not found.choices else None
    return replace(found, constraints=(limit,), obstacles=(post,), input_margins=margins), x0, goal, before


@pytest.mark.parametrize("seed", range(6))
def test_sides_that_change_over_the_horizon_reach_every_solver(seed: int):
    discrete = {"choices": {"u0 [m]": VALUES, "u1 [m]": VALUES}, "horizon": 2}
    found, x0, goal, before = changing(seed, **discrete)
    least = enumerated(found, x0, goal, before)
    with MipPlanner(found, max_nodes=None, samples=0) as planner:
        plan = planner.plan(x0, goal, before=before)
    assert (plan.status == "infeasible") if np.isinf(least) else plan.cost == pytest.approx(least, abs=1e-4)
    found, x0, goal, before = changing(seed, horizon=2)
    with MipPlanner(found, max_nodes=None, samples=0) as planner:
        plan = planner.plan(x0, goal, before=before)
    if plan.status == "optimal":
        low, high = found.limits
        assert (
            (plan.inputs >= low - 1e-12).all() and (plan.inputs <= high + 1e-12).all() and plan.violation <= TOLERANCE
        )
        others = solved_by_others(found, x0, goal, before, seed == 1)
        assert others == [pytest.approx(plan.cost, rel=1e-3, abs=1e-3)] * len(others)


def solved_by_others(found: Problem, x0, goal, before, branching: bool) -> list[float]:
    costs = []
    if branching:
        pytest.importorskip("torch")
        from controllers.planning.branching import BranchAndBound

        costs.append(BranchAndBound(found, max_nodes=200).plan(x0, goal, before=before).cost)
    try:
        import pyomo.environ as pyo

        from controllers.planning.mip.algebraic import pyomo_model

        model = pyomo_model(found, x0, goal, before)
        pyo.SolverFactory("appsi_highs").solve(model, options={"presolve": "off"})
        costs.append(float(pyo.value(model.cost)))
    except ImportError:
        pass
    return costs


def test_what_cannot_be_made_robust_is_refused():
    model = carts()
    shape, plain = contracting_shape(model, K), problem(model)
    found = tube(model, K, shape, NOISE)
    with pytest.raises(InvalidInput, match=r"rho \+ dt c gamma_res = 1.05 >= 1 \(0.9 \+ 0.15\)"):
        Tube(shape, K, 0.9, 0.15, NOISE)
    with pytest.raises(InvalidInput, match="made of another model"):
        with_tube(plain, model, tube(carts(bend=0.04), K, shape, NOISE))
    with pytest.raises(InvalidInput, match=r"rho \+ dt c gamma_res = [\d.]+ >= 1"):
        tube(carts(bend=50.0), K, shape, NOISE)
    with pytest.raises(InvalidInput, match="needs a model with a certificate, got SparseReLUDynamics"):
        with_tube(plain, point(), found)  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match="plans with another model than the tube's"):
        with_tube(problem(carts(bend=0.04)), model, found)
    with pytest.raises(InvalidInput, match="gives way to a tube already"):
        with_tube(with_tube(plain, model, found).problem, model, found)
    with pytest.raises(InvalidInput, match=r"tube: u0 \[N\] would have to give way by .* at step \d: nothing"):
        with_tube(plain, model, tube(model, K, shape, 5.0))
    with pytest.raises(InvalidInput, match=r"constraint 'speed' would have to give way by .* at step \d"):
        narrow = replace(plain.constraints[1], lower=np.full(2, -0.01), upper=np.full(2, 0.01))
        with_tube(replace(plain, constraints=(narrow,)), model, found)
    with pytest.raises(InvalidInput, match=r"u1 \[N\] has choices, and the feedback would leave them"):
        with_tube(problem(model, choices={"u1 [N]": (0.0, 1.0)}), model, found)
    with pytest.raises(InvalidInput, match=r"margin leaves nothing of u0 \[N\] at step 0"):
        problem(model, input_margins=np.full((HORIZON, 2), 4.1))
    with pytest.raises(InvalidInput, match="input_margins are"):
        problem(model, input_margins=np.zeros(2))
    with pytest.raises(InvalidInput, match="constraint 'wall': shapes do not fit"):
        wall = replace(plain.constraints[0], upper=np.ones((HORIZON + 1, 1)))
        replace(plain, constraints=(wall,))

"""The program says what the model does: every rollout is a point of it, of the same cost, and no other state is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from mip_toys import VALUES, case, net, walled

from control_stack.bounds import Affine, Input, Network, Product, Relu, Slice, Sum, Tanh
from control_stack.bounds.step import step_template
from control_stack.errors import InvalidInput
from controllers.planning.mip.boxes import boxes_from
from controllers.planning.mip.encoding import Encoding
from controllers.planning.mip.solve import solve
from controllers.planning.problem import Problem

SEEDS = range(12)


def encoded(problem: Problem, x0, goal, before):
    template = step_template(problem.model.collapsed().to_network(), problem.nx)
    limits = [np.tile(side, (problem.horizon, 1)) for side in (problem.spec.input_lower, problem.spec.input_upper)]
    encoding = Encoding(problem, template)
    return encoding, encoding.fill(x0, goal, before, boxes_from(template, x0, *limits))


def dense(milp) -> np.ndarray:
    matrix = np.zeros((len(milp.row_lower), len(milp.cost)))
    for row, (a, b) in enumerate(zip(milp.starts[:-1], milp.starts[1:], strict=True)):
        matrix[row, milp.columns[a:b]] = milp.values[a:b]
    return matrix


def worst(milp, v) -> float:
    """By how much a point breaks rows, columns or integrality."""
    rows = dense(milp) @ v
    off = [milp.column_lower - v, v - milp.column_upper, milp.row_lower - rows, rows - milp.row_upper]
    return float(max(part.max() for part in off) + np.abs(v - np.round(v))[milp.integer == 1].max())


def test_a_rollout_is_a_point_of_the_same_cost_and_feasible_where_it_keeps_the_constraints():
    kept = 0
    for seed in SEEDS:
        choices = {"u1 [m]": VALUES} if seed % 3 == 0 else {}
        problem, x0, goal, before = walled(seed, horizon=3, relus=6, choices=choices)
        encoding, milp = encoded(problem, x0, goal, before)
        rng = np.random.default_rng(seed)
        for _ in range(20):
            inputs = problem.limited(rng.uniform(-0.2, 0.2, (3, 2)))
            states = problem.model.rollout(x0, inputs)
            v = encoding.point(states, inputs, goal, before)
            assert milp.cost @ v == pytest.approx(problem.cost(states, inputs, goal, before), abs=1e-9)
            holds = problem.violation(states, inputs) <= 1e-9
            assert (worst(milp, v) <= 1e-7) == holds
            kept += holds
    assert 20 < kept < 220  # of 240: both kinds occur


@pytest.mark.parametrize("seed", SEEDS)
def test_with_the_inputs_fixed_only_the_rollout_is_left(seed: int):
    """Also where a state lies exactly at the kinks: the second half of the cases puts x0 there."""
    problem, x0, goal, before = case(seed, horizon=2)
    rng = np.random.default_rng(seed)
    inputs = rng.uniform(-0.2, 0.2, (2, 2))
    if seed >= len(SEEDS) // 2:
        first = problem.model.layers[0]  # its two ReLUs are at zero there
        x0 = np.linalg.solve(first.weights[0][:2, :2], -first.bias[:2] - first.weights[0][:2, 2:] @ inputs[0])
        z = first.weights[0][:2] @ np.concatenate([x0, inputs[0]]) + first.bias[:2]
        assert np.abs(z).max() < 1e-12
    encoding, milp = encoded(problem, x0, goal, before)
    states = problem.model.rollout(x0, inputs)
    lower, upper = milp.column_lower.copy(), milp.column_upper.copy()
    lower[milp.inputs] = upper[milp.inputs] = inputs.ravel()
    for _ in range(3):
        row = rng.standard_normal((2, 2))
        for sign in (1.0, -1.0):  # the least and the greatest of any combination of states is the rollout's
            cost = np.zeros_like(milp.cost)
            cost[encoding.state_columns[1:]] = sign * row
            found = []
            answer = solve(replace(milp, cost=cost, column_lower=lower, column_upper=upper), (), found.append)
            assert answer.status == "optimal"
            assert sign * found[-1].objective == pytest.approx((row * states[1:]).sum(), abs=1e-5)


@pytest.mark.parametrize("seed", SEEDS)
def test_boxes_hold_every_rollout_also_beyond_the_limits_of_states(seed: int):
    model = net(seed, relus=6)
    template = step_template(model.collapsed().to_network(), 2)
    rng = np.random.default_rng(seed)
    x0 = rng.uniform(-6.0, 6.0, 2)  # the spec's limits are -2 and 2
    boxes = boxes_from(template, x0, np.full((4, 2), -0.2), np.full((4, 2), 0.2))
    corners = rng.choice([-0.2, 0.2], (200, 4, 2))
    inputs = np.concatenate([corners, rng.uniform(-0.2, 0.2, (200, 4, 2))])
    states = model.rollout(x0, inputs)
    assert (states >= boxes.state_lower).all() and (states <= boxes.state_upper).all()
    change = np.diff(states, axis=1)
    assert (change >= boxes.change_lower).all() and (change <= boxes.change_upper).all()
    known = np.concatenate([states[:, :-1], inputs, np.zeros((400, 4, 6))], -1)
    for k in range(6):
        z = known @ template.arguments[k] + template.constants[k]
        assert (z >= boxes.argument_lower[:, k]).all() and (z <= boxes.argument_upper[:, k]).all()
        known[..., 4 + k] = np.maximum(z, 0.0)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_template_is_the_model(seed: int):
    model = net(seed, relus=5)
    for network in (model.to_network(), model.collapsed().to_network()):
        template = step_template(network, 2)
        assert template.relus == model.relus  # identities and zeros cost no binary
        v = np.concatenate([np.random.default_rng(seed).uniform(-1.0, 1.0, (50, 4)), np.zeros((50, template.relus))], 1)
        for k in range(template.relus):
            v[:, 4 + k] = np.maximum(v @ template.arguments[k] + template.constants[k], 0.0)
        after = v[:, :2] + v @ template.change.T + template.drift
        np.testing.assert_allclose(after, model.step(v[:, :2], v[:, 2:4]), atol=1e-12)


def test_known_signs_leave_no_binary_free():
    """Near x0 = 0 every ReLU of this net is on or off for good."""
    model = net(3)
    far = replace(model.layers[0], bias=np.array([50.0, -50.0, 0.0, 0.0]))
    problem = Problem(
        replace(model, layers=(far, replace(model.layers[1], bias=np.full(3, 500.0)), model.layers[2])), 3
    )
    _, goal, _ = case(0)[1:]
    goal = replace(goal, target=np.zeros(2), half_width=np.zeros(2), free=np.zeros(2))
    _, milp = encoded(problem, np.zeros(2), goal, None)
    assert (milp.column_lower[milp.active] == milp.column_upper[milp.active]).all()


def test_other_layers_are_refused_by_name():
    x = Input(3)
    for layer in (Tanh, lambda a: Product(a, a)):
        hidden = layer(Relu(Affine(x, np.ones((2, 3)))))
        with pytest.raises(InvalidInput, match=r"affine and ReLU layers only; layer \d is (Tanh|Product)"):
            step_template(Network(Sum(Slice(x, 0, 2), hidden)), 2)


def test_a_quadratic_cost_is_refused():
    problem = replace(case(0)[0], stage="quadratic")
    with pytest.raises(InvalidInput, match="quadratic"):
        Encoding(problem, step_template(problem.model.to_network(), 2))

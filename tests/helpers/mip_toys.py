"""Small planning problems with random nets, and their optima found without any integer program."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
from sampling_toys import point_spec
from scipy.optimize import linprog

from control_stack.learning.sparse_relu import GatedLayer, SparseReLUDynamics
from control_stack.learning.spec import Goal
from controllers.planning.problem import LinearConstraint, Obstacle, Problem

VALUES = (-0.2, -0.1, 0.0, 0.05, 0.2)


def net(seed: int, relus: int = 4, scale: float = 1.0) -> SparseReLUDynamics:
    """Two states, two inputs, two hidden layers with units of every kind; ``relus`` of them are ReLUs."""
    rng = np.random.default_rng(seed)
    first = ("relu",) * (relus - relus // 2) + ("identity", "zero")
    second = ("relu",) * (relus // 2) + ("identity",)
    a = GatedLayer({0: scale * rng.standard_normal((len(first), 4))}, 0.1 * rng.standard_normal(len(first)), first)
    b = GatedLayer(
        {1: scale * rng.standard_normal((len(second), len(first)))}, 0.1 * rng.standard_normal(len(second)), second
    )
    last = GatedLayer({2: 0.3 * rng.standard_normal((2, len(second)))}, np.zeros(2), ("identity",) * 2)
    return SparseReLUDynamics(point_spec(), (a, b, last))


def case(seed: int, horizon: int = 2, relus: int = 4, **changes):
    """A problem with costs of every kind, x0, goal and the input before."""
    rng = np.random.default_rng(1000 + seed)
    spec = point_spec()
    spec = replace(
        spec, outputs=rng.standard_normal((3, 2)), weights=rng.uniform(0.2, 2.0, 3), output_names=("a", "b", "c")
    )
    model = replace(net(seed, relus), spec=spec)
    problem = Problem(
        model, horizon, stage=("l1", "linf")[seed % 2], terminal=float(rng.uniform(0.5, 3.0)),
        effort=rng.uniform(0.0, 0.3, 2), change=rng.uniform(0.0, 0.3, 2), **changes,
    )  # fmt: skip
    goal = Goal(rng.uniform(-0.5, 0.5, 3) * model.spec.output_range()[1], np.full(3, 0.01), rng.uniform(0.0, 0.1, 3))
    return problem, rng.uniform(-0.5, 0.5, 2), goal, rng.uniform(-0.2, 0.2, 2)


def walled(seed: int, **changes):
    """A case with a linear constraint on states and inputs, and an obstacle; the plan that rests need not keep them."""
    problem, x0, goal, before = case(seed, **changes)
    rng = np.random.default_rng(2000 + seed)
    rest = problem.model.rollout(x0, np.zeros((problem.horizon, 2)))[-1]
    turn = rng.uniform(0.0, np.pi)
    normals = np.array([[np.cos(a), np.sin(a)] for a in turn + 0.5 * np.pi * np.arange(4)])
    centre = rest + rng.uniform(-0.1, 0.1, 2)
    obstacle = Obstacle("post", np.eye(2)[None], normals, normals @ centre + 0.05)
    state, inputs = rng.standard_normal((1, 2)), rng.standard_normal((1, 2))
    limit = LinearConstraint("rail", state, np.full(1, -np.inf), state @ rest + 0.05, inputs)
    return replace(problem, constraints=(limit,), obstacles=(obstacle,)), x0, goal, before


def enumerated(problem: Problem, x0, goal, before) -> float:
    """Least cost over all sequences of choices, by rollouts; inf where none keeps the constraints."""
    options = [problem.choices[name] for name in problem.spec.inputs]
    plans = np.array(list(itertools.product(itertools.product(*options), repeat=problem.horizon)))
    states = problem.model.rollout(x0, plans)
    cost = problem.cost(states, plans, goal, before)
    return float(np.where(problem.violation(states, plans) <= 1e-9, cost, np.inf).min())


def by_patterns(problem: Problem, x0, goal, before) -> float:
    """Least cost over all patterns of activation: for each the states are affine in the inputs, and one linear program
    is solved. Written without anything of the planner's."""
    n = problem.horizon * problem.nu
    spec, best = problem.spec, np.inf
    low, high = np.tile(spec.input_lower, problem.horizon), np.tile(spec.input_upper, problem.horizon)

    def leaf(states, rows) -> None:
        nonlocal best
        best = min(best, _least(problem, goal, before, states, rows, low, high))

    def layer(t: int, k: int, values, states, rows) -> None:
        """values: of each layer so far (matrix, offset) over the plan."""
        if k > len(problem.model.layers):
            x, d = states[-1], values[-1]
            states = [*states, (x[0] + d[0], x[1] + d[1])]
            if t + 1 == problem.horizon:
                leaf(states, rows)
            else:
                layer(t + 1, 1, [_read(states[-1], t + 1, n, problem.nu)], states, rows)
            return
        of = problem.model.layers[k - 1]
        z = sum(w @ values[j][0] for j, w in of.weights.items())
        z0 = sum(w @ values[j][1] for j, w in of.weights.items()) + of.bias
        middle, radius = z @ (0.5 * (low + high)) + z0, np.abs(z) @ (0.5 * (high - low))
        kinds = []
        for gate, c, r in zip(of.gates, middle, radius, strict=True):
            open_ = [1.0] if c - r >= 0.0 else [0.0] if c + r <= 0.0 else [0.0, 1.0]
            kinds.append({"identity": [1.0], "zero": [0.0], "relu": open_}[gate])
        for pattern in itertools.product(*kinds):
            on = np.array(pattern)
            more = [
                (-z[i], z0[i]) if on[i] else (z[i], -z0[i]) for i in range(len(on)) if of.gates[i] == "relu"
            ]  # a . plan <= b
            layer(t, k + 1, [*values, (z * on[:, None], z0 * on)], states, rows + more)

    start = (np.zeros((problem.nx, n)), x0)
    layer(0, 1, [_read(start, 0, n, problem.nu)], [start], [])
    return best


def _read(x, t: int, n: int, nu: int):
    inputs = np.eye(n)[t * nu : (t + 1) * nu]
    return np.vstack([x[0], inputs]), np.concatenate([x[1], np.zeros(nu)])


def _least(problem: Problem, goal, before, states, rows, low, high) -> float:
    """One linear program over the plan, and a column for each thing that costs."""
    spec, n = problem.spec, len(low)
    a, b, cost = [row for row, _ in rows], [side for _, side in rows], list(np.zeros(n))
    terms: list[tuple[float, list]] = []  # weight, and the expressions of which the largest, or 0, costs
    for (matrix, offset), weight in zip(states[1:], problem.stage_weights(), strict=True):
        each = []
        for w, row, target, free in zip(spec.weights, spec.outputs, goal.target, goal.free, strict=True):
            y, y0 = row @ matrix, row @ offset - target
            each.append([(w * y, w * (y0 - free)), (-w * y, w * (-y0 - free))])
        terms += [(weight, sum(each, []))] if problem.stage == "linf" else [(weight, pair) for pair in each]
    plan = np.eye(n)
    for k in range(n):
        step = plan[k] - (plan[k - problem.nu] if k >= problem.nu else 0.0)
        moved = -before[k] if k < problem.nu else 0.0
        terms.append((problem.effort[k % problem.nu], [(plan[k], 0.0), (-plan[k], 0.0)]))
        terms.append((problem.change[k % problem.nu], [(step, moved), (-step, -moved)]))
    wide, sides = [], []
    for k, (weight, parts) in enumerate(terms):
        cost.append(weight)
        for row, offset in parts:
            wide.append(np.concatenate([row, -np.eye(len(terms))[k]]))
            sides.append(-offset)
    full = [np.concatenate([row, np.zeros(len(terms))]) for row in a] + wide
    bounds = [*zip(low, high, strict=True), *[(0.0, None)] * len(terms)]
    found = linprog(cost, np.array(full), np.array(b + sides), bounds=bounds, method="highs")
    return float(found.fun) if found.status == 0 else np.inf

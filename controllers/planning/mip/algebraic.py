"""The same program written out in Pyomo: to be read, and for any solver that Pyomo knows, quadratic costs included.

    model = pyomo_model(problem, x0, goal)
    pyomo.environ.SolverFactory("appsi_highs").solve(model)
    inputs = planned_inputs(model)

Index sets: T steps, I states, J inputs, K ReLUs, Y outputs. It shares the step's matrices and boxes with ``encoding``
and nothing else.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from control_stack.bounds.step import StepTemplate, step_template
from control_stack.errors import MissingDependency
from control_stack.learning.spec import Goal
from control_stack.types import Array
from controllers.planning.mip.boxes import boxes_from
from controllers.planning.problem import Problem


def pyomo_model(problem: Problem, x0: Array, goal: Goal, before: Array | None = None) -> Any:
    """A ``pyomo.environ.ConcreteModel`` whose objective ``cost`` is the problem's cost from x0 (nx,).

    Raises:
        InvalidInput: A state or goal that cannot be meant, or a layer that is not affine or a ReLU.
        MissingDependency: Pyomo is not installed.
    """
    try:
        import pyomo.environ as pyo
    except ImportError:
        raise MissingDependency("pyomo", "mip") from None
    spec, horizon = problem.spec, problem.horizon
    x0, goal = spec.check_state(x0), spec.check_goal(goal)
    model = problem.model.collapsed()
    template = step_template(model.to_network(), problem.nx)
    boxes = boxes_from(template, x0, *problem.limits, stored=model.bounds)
    m = pyo.ConcreteModel(name=f"{spec.task}, {horizon} steps")
    m.T, m.S = pyo.RangeSet(0, horizon - 1), pyo.RangeSet(1, horizon)
    m.I, m.J, m.K = (pyo.RangeSet(0, n - 1) for n in (problem.nx, problem.nu, template.relus))
    m.Y = pyo.RangeSet(0, len(spec.weights) - 1)
    m.x = pyo.Var(pyo.RangeSet(0, horizon), m.I, bounds=_between(boxes.state_lower, boxes.state_upper))
    m.u = pyo.Var(m.T, m.J, bounds=_between(*problem.limits))
    for i in m.I:
        m.x[0, i].fix(x0[i])
    _dynamics(pyo, m, template, boxes.argument_lower, boxes.argument_upper)
    _constraints(pyo, m, problem, boxes.state_lower[1:], boxes.state_upper[1:])
    m.cost = pyo.Objective(expr=_goal(pyo, m, problem, goal) + _inputs(pyo, m, problem, before))
    return m


def planned_inputs(model: Any) -> Array:
    """(T, nu) of a solved model."""
    return np.array([[model.u[t, j].value for j in model.J] for t in model.T], dtype=float)


def _between(lower: Array, upper: Array) -> Any:
    return lambda _, t, k: (lower[t, k], upper[t, k])


def _linear(row: Array, *groups: Any) -> Any:
    """row . (the groups' variables one after another), without its zeros."""
    variables = [v for group in groups for v in group]
    return sum(float(row[k]) * variables[k] for k in np.flatnonzero(row))


def _dynamics(pyo: Any, m: Any, template: StepTemplate, low: Array, high: Array) -> None:
    m.h = pyo.Var(m.T, m.K, bounds=lambda _, t, k: (max(low[t, k], 0.0), max(high[t, k], 0.0)))
    m.side = pyo.Var(m.T, m.K, domain=pyo.Binary)

    def row(t: int, weights: Array) -> Any:
        return _linear(weights, m.x[t, :], m.u[t, :], m.h[t, :])

    def argument(t: int, k: int) -> Any:
        return row(t, template.arguments[k]) + template.constants[k]

    m.above = pyo.Constraint(m.T, m.K, rule=lambda m, t, k: m.h[t, k] >= argument(t, k))
    m.on = pyo.Constraint(m.T, m.K, rule=lambda m, t, k: m.h[t, k] <= argument(t, k) - low[t, k] * (1 - m.side[t, k]))
    m.off = pyo.Constraint(m.T, m.K, rule=lambda m, t, k: m.h[t, k] <= high[t, k] * m.side[t, k])
    m.step = pyo.Constraint(
        m.T, m.I, rule=lambda m, t, i: m.x[t + 1, i] == m.x[t, i] + row(t, template.change[i]) + template.drift[i]
    )


def _constraints(pyo: Any, m: Any, problem: Problem, low: Array, high: Array) -> None:
    m.limits = pyo.ConstraintList()
    for c in problem.constraints:
        lower, upper = c.sides(problem.horizon)
        for t in m.T:
            for k in range(len(c.state)):
                value = _linear(c.state[k], m.x[t + 1, :])
                if c.inputs is not None:
                    value = value + _linear(c.inputs[k], m.u[t, :])
                for side, sign in ((lower[t, k], 1.0), (upper[t, k], -1.0)):
                    if np.isfinite(side):
                        m.limits.add(sign * value >= sign * side)
    m.chosen, m.outside = pyo.VarList(domain=pyo.Binary), pyo.VarList(domain=pyo.Binary)
    for name, options in problem.choices.items():
        j = problem.spec.inputs.index(name)
        for t in m.T:
            chosen = [m.chosen.add() for _ in options]
            m.limits.add(m.u[t, j] == sum(float(v) * b for v, b in zip(options, chosen, strict=True)))
            m.limits.add(sum(chosen) == 1)
    for o in problem.obstacles:
        for t in m.T:
            for point, offsets in zip(o.points, o.sides(problem.horizon)[t], strict=True):
                faces = []
                for normal, offset in zip(o.normals @ point, offsets, strict=True):
                    least = np.minimum(normal * low[t], normal * high[t]).sum()
                    faces.append(m.outside.add())
                    m.limits.add(_linear(normal, m.x[t + 1, :]) >= offset - (1 - faces[-1]) * max(offset - least, 0.0))
                m.limits.add(sum(faces) >= 1)


def _goal(pyo: Any, m: Any, problem: Problem, goal: Goal) -> Any:
    spec, weights = problem.spec, problem.stage_weights()
    each = problem.stage != "linf"
    m.excess = pyo.Var(m.S, m.Y if each else pyo.RangeSet(0, 0), domain=pyo.NonNegativeReals)
    m.far = pyo.ConstraintList()
    for t in m.S:
        for y in m.Y:
            if np.isfinite(goal.free[y]) and spec.weights[y] > 0.0:
                error = _linear(spec.outputs[y], m.x[t, :]) - goal.target[y]
                for sign in (1.0, -1.0):
                    m.far.add(m.excess[t, y if each else 0] >= spec.weights[y] * (sign * error - goal.free[y]))
    power = 2 if problem.stage == "quadratic" else 1
    return sum(weights[t - 1] * e**power for (t, _), e in m.excess.items())


def _inputs(pyo: Any, m: Any, problem: Problem, before: Array | None) -> Any:
    first = np.zeros(problem.nu) if before is None else before
    m.sizes, total = pyo.ConstraintList(), 0.0
    m.size, m.moved = (pyo.Var(m.T, m.J, domain=pyo.NonNegativeReals) for _ in range(2))
    for weights, sizes, moved in ((problem.effort, m.size, False), (problem.change, m.moved, True)):
        if weights is None:
            continue
        for t in m.T:
            for j in m.J:
                last = (m.u[t - 1, j] if t else first[j]) if moved else 0.0
                for sign in (1.0, -1.0):
                    m.sizes.add(sizes[t, j] >= sign * (m.u[t, j] - last))
                total = total + weights[j] * sizes[t, j]
    return total

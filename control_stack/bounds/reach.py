"""Where a discrete model can get to: boxes around the states of x+ = f(x, u) over a horizon."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from control_stack.bounds.arrays import Tensor, like, namespace, to_numpy
from control_stack.bounds.box import Bounds, Box
from control_stack.bounds.interval import Interval, finite, intervals, total
from control_stack.bounds.linear import propagate
from control_stack.bounds.network import Concat, Input, Network, Node, Product, Slice, Sum
from control_stack.bounds.step import step_template
from control_stack.bounds.zonotope import zonotopes
from control_stack.errors import InvalidInput


@dataclass(frozen=True)
class Reachable:
    """What ``reachable_boxes`` found over H steps.

    Attributes:
        states: (..., H + 1, nx), the given box first.
        changes: (..., H, nx) of x_{t+1} - x_t.
        arguments: For each activation of the step network, in order of its nodes, bounds (..., H, n) on its
            argument at each step: what big-M constraints of that step need. Of zonotopes only the components that
            are a ReLU, as identities and zeros need none.
    """

    states: Bounds
    changes: Bounds
    arguments: tuple[Bounds, ...]


def reachable_boxes(
    step: Network, state: Box, inputs: Box, method: Literal["interval", "zonotope", "linear"] = "linear"
) -> Reachable:
    """Boxes that hold every state reached from a box of states by any inputs from a box for each step.

    Args:
        step: [x, u] -> x+, one step of the model (residual models add x themselves).
        state: (..., nx) where x0 lies; equal sides for a point.
        inputs: (H, nu) or (..., H, nu) where u0 .. u_{H-1} lie.
        method: "interval" boxes every step anew. The others bound the H steps as one network of x0, u0 .. u_{H-1},
            which keeps how steps depend on each other: "zonotope" in one pass forward (affine and ReLU layers only),
            what a planner has time for; "linear" with a pass backward from every layer of every step.

    Returns:
        Sound boxes for exact arithmetic.

    Raises:
        InvalidInput: Sizes do not fit, or bounds overflow.
    """
    nx, nu = state.size, inputs.size
    if step.inputs != nx + nu or step.outputs != nx:
        raise InvalidInput(f"a step from {step.inputs} to {step.outputs} does not take {nx} states and {nu} inputs")
    if not inputs.batch or inputs.batch[:-1] not in ((), state.batch):
        raise InvalidInput(f"boxes of inputs {(*inputs.batch, nu)} do not fit states {(*state.batch, nx)}")
    if method == "zonotope":
        return _by_zonotopes(step, state, inputs)
    horizon = inputs.batch[-1]
    lower, upper = (_joined(*sides) for sides in ((state.lower, inputs.lower), (state.upper, inputs.upper)))
    network, positions = _unrolled(step, nx, nu, horizon)
    ends = [step_positions[-1] for step_positions in positions]
    change = _change(step, nx)
    if method == "linear":
        extra = ends if change is None else [*ends, *(at[change] for at in positions)]
        found = propagate(network, lower, upper, extra).intervals
    elif method == "interval":
        found = intervals(network, lower, upper)
    else:
        raise InvalidInput(f"reachable boxes by '{method}'; expected interval, zonotope or linear")

    def over_time(steps: list[Interval]) -> Bounds:
        xp = namespace(lower)
        sides = (xp.stack([pair[i] for pair in steps], 1) for i in (0, 1))
        a, b = (side.reshape(*state.batch, len(steps), -1) for side in sides)
        return Bounds(a, b, method, True)

    states = [(lower[:, :nx], upper[:, :nx]), *(found[k] for k in ends)]
    if change is None:
        pairs = zip(states[1:], states[:-1], strict=True)
        changes = [total([after, (-before[1], -before[0])]) for after, before in pairs]
    else:
        changes = [found[at[change]] for at in positions]
    activations = [k for k in step.nonlinear if not isinstance(step.nodes[k], Product)]
    return Reachable(
        over_time(states),
        over_time(changes),
        tuple(over_time([found[at[step.parents[k][0]]] for at in positions]) for k in activations),
    )


def _joined(state: Tensor, inputs: Tensor) -> Tensor:
    """(B, nx + H nu)."""
    xp = namespace(state)
    rows = state.reshape(-1, state.shape[-1])
    plan = xp.broadcast_to(inputs, (*state.shape[:-1], *inputs.shape[-2:])).reshape(len(rows), -1)
    return xp.concatenate([rows, plan], -1)


def _by_zonotopes(step: Network, state: Box, inputs: Box) -> Reachable:
    template = step_template(step, state.size)
    starts = [to_numpy(side).reshape(-1, state.size) for side in (state.lower, state.upper)]
    shape = (*state.batch, *inputs.batch[-1:], inputs.size)
    plans = [np.broadcast_to(to_numpy(side), shape).reshape(-1, *shape[-2:]) for side in (inputs.lower, inputs.upper)]
    found = [zonotopes(template, (a, b), (c, d)) for a, b, c, d in zip(*starts, *plans, strict=True)]

    def over_time(part: int, columns: slice) -> Bounds:
        sides = (np.array([[pair[i][columns] for pair in of[part]] for of in found]) for i in (0, 1))
        a, b = finite(tuple(like(v.reshape(*state.batch, *v.shape[1:]), state.lower) for v in sides), "zonotopes")
        return Bounds(a, b, "zonotope", True)

    ends = np.cumsum([len(units) for units in template.units])
    every = slice(None)
    arguments = tuple(
        over_time(2, slice(end - len(units), end)) for end, units in zip(ends, template.units, strict=True)
    )
    return Reachable(over_time(0, every), over_time(1, every), arguments)


def _change(step: Network, nx: int) -> int | None:
    """The position of f in a step x+ = x + f(x, u); None for one of another form."""
    last, state = step.nodes[-1], step.nodes[0]
    if not isinstance(last, Sum) or len(last.parents) != 2:
        return None
    for k, node in enumerate(last.parents):
        if isinstance(node, Slice) and node.parents[0] is state and (node.start, node.stop) == (0, nx):
            return step.parents[-1][1 - k]
    return None


def _unrolled(step: Network, nx: int, nu: int, horizon: int) -> tuple[Network, list[list[int]]]:
    """The H steps as one network of [x0, u0, ..], and for each step the positions of the step's nodes in it."""
    whole = Input(nx + horizon * nu)
    x: Node = Slice(whole, 0, nx)
    copies: list[list[Node]] = []
    for i in range(horizon):
        start = nx + i * nu
        copies.append(step.on(Concat(x, Slice(whole, start, start + nu))))
        x = copies[-1][-1]
    network = Network(x)
    position = {node: k for k, node in enumerate(network.nodes)}
    return network, [[position.get(node, -1) for node in nodes] for nodes in copies]

"""Where a discrete model can get to: boxes around the states of x+ = f(x, u) over a horizon."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from control_stack.bounds.arrays import Tensor, namespace
from control_stack.bounds.box import Bounds, Box
from control_stack.bounds.interval import Interval, intervals
from control_stack.bounds.linear import propagate
from control_stack.bounds.network import Concat, Input, Network, Node, Product, Slice
from control_stack.errors import InvalidInput


@dataclass(frozen=True)
class Reachable:
    """What ``reachable_boxes`` found over H steps.

    Attributes:
        states: (..., H + 1, nx), the given box first.
        arguments: For each activation of the step network, in order of its nodes, bounds (..., H, n) on its
            argument at each step: what big-M constraints of that step need.
    """

    states: Bounds
    arguments: tuple[Bounds, ...]


def reachable_boxes(
    step: Network, state: Box, inputs: Box, method: Literal["interval", "linear"] = "linear"
) -> Reachable:
    """Boxes that hold every state reached from a box of states by any inputs from a box for each step.

    Args:
        step: [x, u] -> x+, one step of the model (residual models add x themselves).
        state: (..., nx) where x0 lies; equal sides for a point.
        inputs: (H, nu) or (..., H, nu) where u0 .. u_{H-1} lie.
        method: "interval" boxes every step anew; "linear" bounds the H steps as one network of x0, u0 .. u_{H-1},
            which keeps how steps depend on each other.

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
    horizon = inputs.batch[-1]
    lower, upper = (_joined(*sides) for sides in ((state.lower, inputs.lower), (state.upper, inputs.upper)))
    network, positions = _unrolled(step, nx, nu, horizon)
    ends = [step_positions[-1] for step_positions in positions]
    if method == "linear":
        found = propagate(network, lower, upper, ends).intervals
    elif method == "interval":
        found = intervals(network, lower, upper)
    else:
        raise InvalidInput(f"reachable boxes by '{method}'; expected interval or linear")

    def over_time(steps: list[Interval]) -> Bounds:
        xp = namespace(lower)
        sides = (xp.stack([pair[i] for pair in steps], 1) for i in (0, 1))
        a, b = (side.reshape(*state.batch, len(steps), -1) for side in sides)
        return Bounds(a, b, method, True)

    start = lower[:, :nx], upper[:, :nx]
    activations = [k for k in step.nonlinear if not isinstance(step.nodes[k], Product)]
    return Reachable(
        over_time([start, *(found[k] for k in ends)]),
        tuple(over_time([found[at[step.parents[k][0]]] for at in positions]) for k in activations),
    )


def _joined(state: Tensor, inputs: Tensor) -> Tensor:
    """(B, nx + H nu)."""
    xp = namespace(state)
    rows = state.reshape(-1, state.shape[-1])
    plan = xp.broadcast_to(inputs, (*state.shape[:-1], *inputs.shape[-2:])).reshape(len(rows), -1)
    return xp.concatenate([rows, plan], -1)


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

"""Input splitting: bounds of a box are the union of those of its parts. Best first, all boxes of a batch at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from control_stack.bounds.arrays import Tensor, arange, namespace
from control_stack.bounds.box import Bounds, Box
from control_stack.bounds.interval import flat, shaped
from control_stack.bounds.linear import Propagation, propagate
from control_stack.bounds.network import Network, Product
from control_stack.errors import InvalidInput

CHUNK = 1024  # boxes bounded at once: what limits memory
Evaluation = tuple[Tensor, Tensor, Tensor]  # lower (N, m), upper (N, m), score of splitting each input (N, n)


def split_bounds(network: Network, box: Box, boxes: int = 256, tolerance: float = 0.01) -> Bounds:
    """Linear bounds on parts of the box, split where that tells most, until they are tight or the budget is spent.

    Parts whose bounds stick out furthest beyond what the function was seen to reach are halved, along the input
    that moves the loosest relaxations most. Bounds never widen with a larger budget.

    Args:
        network: Function f, any layers.
        box: (..., inputs).
        boxes: Parts that a box may be cut into.
        tolerance: A box is done when neither side of any output is further from the values found at the centres of
            its parts than this part of their spread.

    Returns:
        Bounds (..., outputs) on f over the box, for exact arithmetic with the network's float64 weights.

    Raises:
        InvalidInput: The box has another number of inputs, bounds overflow, or the budget is below 1.
    """

    def evaluate(lower: Tensor, upper: Tensor) -> Evaluation:
        state = propagate(network, lower, upper)
        return *state.intervals[-1], influence(network, state)

    lower, upper = refine(evaluate, network, *flat(network, box), boxes, tolerance)
    return shaped(lower, upper, box, "linear+split", True)


def influence(network: Network, state: Propagation) -> Tensor:
    """(B, inputs): how much of the outputs' looseness hangs on each input.

    A relaxation's gap is shared out over the inputs by how far each moves what is relaxed.
    """
    total = 1e-12 * (state.intervals[0][1] - state.intervals[0][0])  # the widest, where nothing is loose
    for k, looseness in state.looseness.items():
        parents = network.parents[k] if isinstance(network.nodes[k], Product) else network.parents[k][:1]
        for p in parents:
            moved = state.sensitivity[p]
            part = moved / (moved.sum(-1)[..., None] + 1e-300)
            total = total + (looseness[..., None] * part).sum(1)
    return total


@dataclass
class _Parts:
    """Parts of the problems that are still open; arrays are (problems, parts, ...)."""

    low: Tensor
    high: Tensor
    lower: Tensor
    upper: Tensor
    score: Tensor

    def __getitem__(self, index: Any) -> _Parts:
        return _Parts(*(value[index] for value in vars(self).values()))

    def __add__(self, other: _Parts) -> _Parts:
        pairs = zip(vars(self).values(), vars(other).values(), strict=True)
        return _Parts(*(namespace(a).concatenate([a, b], 1) for a, b in pairs))

    def halves(self) -> _Parts:
        """Both halves of every part, along its best input; bounds and scores are still those of the whole."""
        xp = namespace(self.low)
        along = xp.argmax(self.score, -1)[..., None] == arange(self.low.shape[-1], self.low)
        middle = 0.5 * self.low + 0.5 * self.high
        left = replace(self, high=xp.where(along, middle, self.high))
        return left + replace(self, low=xp.where(along, middle, self.low))

    def evaluated(self, evaluate: Callable[[Tensor, Tensor], Evaluation]) -> _Parts:
        """Bounds of these parts, no wider than those of the whole that they hold so far."""
        xp, shape = namespace(self.low), self.low.shape
        low, high = self.low.reshape(-1, shape[-1]), self.high.reshape(-1, shape[-1])
        pieces = [evaluate(low[i : i + CHUNK], high[i : i + CHUNK]) for i in range(0, len(low), CHUNK)]
        lower, upper, score = (xp.concatenate(part).reshape(*shape[:2], -1) for part in zip(*pieces, strict=True))
        return _Parts(self.low, self.high, xp.maximum(lower, self.lower), xp.minimum(upper, self.upper), score)


def refine(
    evaluate: Callable[[Tensor, Tensor], Evaluation],
    sample: Callable[[Tensor], Tensor],
    lower: Tensor,
    upper: Tensor,
    boxes: int,
    tolerance: float,
) -> tuple[Tensor, Tensor]:
    """(B, m) bounds of (B, n) boxes by splitting; ``sample`` gives values (N, m) at points (N, n)."""
    if boxes < 1:
        raise InvalidInput(f"splitting needs a budget of at least 1 box, got {boxes}")
    xp = namespace(lower)
    unknown = np.inf + 0.0 * lower[:, None, :1]
    parts = _Parts(lower[:, None], upper[:, None], -unknown, unknown, lower[:, None]).evaluated(evaluate)
    result = parts.lower[:, 0], parts.upper[:, 0]
    seen_low = seen_high = sample(0.5 * lower + 0.5 * upper)
    open_rows = arange(len(lower), lower)
    while True:
        result[0][open_rows], result[1][open_rows] = xp.amin(parts.lower, 1), xp.amax(parts.upper, 1)
        spread = seen_high - seen_low + 1e-9 * (abs(seen_high) + abs(seen_low)) + 1e-12
        beyond = xp.maximum(seen_low[:, None] - parts.lower, parts.upper - seen_high[:, None]) / spread[:, None]
        slack = xp.amax(beyond, -1)  # (problems, parts), over the outputs
        loose = xp.amax(slack, -1) > tolerance
        count = int(parts.low.shape[1])
        splits = min((count + 1) // 2, boxes - count)
        if splits < 1 or not bool(loose.any()):
            return result
        open_rows, order = open_rows[loose], xp.argsort(-slack[loose], -1)
        rows = arange(len(order), lower)[:, None]
        parts = parts[loose]
        halves = parts[rows, order[:, :splits]].halves().evaluated(evaluate)
        parts = parts[rows, order[:, splits:]] + halves
        centres = (0.5 * halves.low + 0.5 * halves.high).reshape(-1, lower.shape[-1])
        values = sample(centres).reshape(halves.lower.shape)
        seen_low = xp.minimum(seen_low[loose], xp.amin(values, 1))
        seen_high = xp.maximum(seen_high[loose], xp.amax(values, 1))

"""The search of ``branching``: which boxes are split, how, and what is done with their halves."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import torch

from control_stack.bounds.arrays import Tensor
from controllers.planning.branching_bounds import Bounder
from controllers.planning.branching_boxes import Boxes
from controllers.planning.branching_descent import Descent
from controllers.planning.mip.best import Best
from controllers.planning.problem import Problem

_FIRST_SHARE = 0.7  # of a deadline, after which the first plans are not improved further
ABSOLUTE_GAP = 1e-6  # HiGHS's too: where a cost is 0, a relative gap closes never


@dataclass(frozen=True)
class Effort:
    """How much of what is done, chosen on nets of 8 and 16 ReLUs; see docs/branch_and_bound.md.

    Attributes:
        samples: Random plans at first.
        climbers: Of those improved, a quarter of them the best.
        climbs, later_climbs: Gradient steps at first, and in each round.
        followed: In each round, points of low relaxations and points near the best plan from where to improve.
        root_ascents, root_tightenings, root_tighten_steps, root_rate: At the root, where multipliers start from
            nothing; a rate is the size of the first step.
        ascents, last_ascents: Steps of the multipliers for each candidate of a split, which has its parent's, and for
            each box that is kept.
        rate, finest: Of the largest first step of these, and what part of it the smallest is.
        relus, inputs: Candidates for a split.
        units, tighten_steps, tighten_rate: ReLUs whose enclosures are narrowed in each new box.
        boxes: Largest number split at once; with a deadline only as many as take ``share`` of it.
        share: Of the deadline.
    """

    samples: int = 1024
    climbers: int = 256
    climbs: int = 40
    later_climbs: int = 20
    followed: int = 16
    root_ascents: int = 30
    root_tightenings: int = 2
    root_tighten_steps: int = 20
    root_rate: float = 0.15
    ascents: int = 10
    rate: float = 0.2
    finest: float = 0.05
    last_ascents: int = 20
    relus: int = 4
    inputs: int = 2
    units: int = 8
    tighten_steps: int = 8
    tighten_rate: float = 0.15
    boxes: int = 32
    share: float = 0.1


class Tree:
    """One search.

    Attributes:
        open: Boxes that may hold a better plan. nodes: Boxes bounded. times: Seconds by part.
    """

    def __init__(
        self, problem: Problem, bounder: Bounder, best: Best, effort: Effort, relative_gap: float, seed: int
    ):  # fmt: skip
        self._of, self._best, self._effort, self._relative_gap = bounder, best, effort, relative_gap
        self._problem = problem
        self._descent = Descent(bounder)
        self._random = torch.Generator().manual_seed(seed)
        self.open = bounder.root()
        self.nodes = 1
        self.times: dict[str, float] = {}

    @property
    def cut(self) -> float:
        """What a plan must cost less than to be worth looking for."""
        cost = self._best.cost
        if not np.isfinite(cost):
            return self._of.ceiling
        return min(cost - self._relative_gap * abs(cost) - ABSOLUTE_GAP, self._of.ceiling)

    @property
    def bound(self) -> float:
        """Proven: what was dropped costs no less than the cut of its time, which was no lower than today's."""
        return min(float(self.open.bound.min()), self.cut) if len(self.open) else self.cut

    def search(self, max_nodes: int | None, until: float | None) -> None:
        """Until nothing is open, or a budget is spent: so many nodes, or (monotonic) the time when it must be over."""
        e = self._effort
        began = time.monotonic()
        self._first_plans(None if until is None else began + _FIRST_SHARE * (until - began))
        last = time.monotonic()
        self.times["start"] = last - began
        total = None if until is None else until - began
        # How long the root takes is not known before: it is given as long as the first plans took.
        took, boxes = self.times["start"], e.boxes
        rounds = 0
        while len(self.open) and (max_nodes is None or self.nodes < max_nodes):
            if until is not None and last + 1.5 * took > until:
                break
            if rounds <= e.root_tightenings:
                self._root(rounds)
                taken = 1
            else:
                taken = min(boxes, len(self.open))
                self._split(taken)
            rounds += 1
            now = time.monotonic()
            took, last = now - last, now
            if total is not None and rounds > e.root_tightenings:
                wanted = 2 * boxes if took < 0.5 * e.share * total else boxes
                boxes = boxes // 2 if took > e.share * total else wanted
                boxes = int(np.clip(boxes, 1, e.boxes))
        if until is not None:
            last = self._use_up(last, until)
        self.times["search"] = last - began - self.times["start"]

    def _use_up(self, last: float, until: float) -> float:
        """Better plans from ``last`` on, while there is no time for another round of boxes; until when it took."""
        took = 0.5 * self.times["start"]
        while len(self.open) and last + 1.5 * took < until:
            self._improve(self.open.corner)
            now = time.monotonic()
            took, last = now - last, now
        return last

    def _first_plans(self, until: float | None) -> None:
        """Random plans, half of them of two constant parts with some noise, then downhill from the best and others."""

        def over() -> bool:
            return until is not None and time.monotonic() > until

        of, e = self._of, self._effort
        problem = self._best.inputs.shape
        count, half = e.samples, e.samples // 2
        share = self._uniform(count, *problem)
        ends, turn = self._uniform(half, 2, problem[1]), self._uniform(half, 1, 1) * problem[0]
        early = torch.arange(problem[0], device=turn.device)[None, :, None] < turn
        noise = 0.5 * self._uniform(half, 1, 1) * (share[:half] - 0.5)
        share[:half] = (torch.where(early, ends[:, :1], ends[:, 1:]) + noise).clamp(0.0, 1.0)
        points = self._descent.allowed(of.lower + (of.upper - of.lower) * share.reshape(count, -1))
        order, good = self._descent.cost(points).argsort(), e.climbers // 4
        others = order[good:][self._uniform(count - good).argsort()[: e.climbers - good]]
        self._offer(
            self._descent.improved(
                torch.cat([self._known(), points[order[:good]], points[others]]), e.climbs, 0.2, over
            )
        )

    def _uniform(self, *shape: int) -> Tensor:
        return torch.rand(*shape, generator=self._random, dtype=torch.float64).to(self._of.lower.device)

    def _rates(self, count: int) -> Tensor:
        """Steps of any size for each box: multipliers far from good need large ones, those near it small ones."""
        e = self._effort
        return e.rate * e.finest ** self._uniform(count)

    def _known(self) -> Tensor:
        """(1, n) the best plan."""
        return torch.as_tensor(self._best.inputs.reshape(1, -1), device=self._of.lower.device)

    def _offer(self, points: Tensor) -> None:
        """Takes the best of some points by the rollout."""
        order = self._descent.cost(points).argsort()[:3]
        for point in points[order].cpu().numpy():
            self._best.consider(self._problem.limited(point.reshape(self._best.inputs.shape)))

    def _root(self, number: int) -> None:
        """One round on the whole box: enclosures, then multipliers, then (next round) enclosures by what they say."""
        of, e = self._of, self._effort
        root = self.open
        if number:
            units = torch.nonzero((root.lo[0] < 0.0) & (root.hi[0] > 0.0)).T
            if units.shape[1]:
                root = of.tighten(root, units, self.cut, e.root_tighten_steps, e.root_rate)
        root = of.ascend(of.enclose(root), e.root_ascents, torch.full_like(root.bound, e.root_rate))
        self._improve(root.corner)
        root = self._without_single(root)
        self.open = root[root.bound < self.cut]

    def _without_single(self, boxes: Boxes) -> Boxes:
        """Boxes of more than one plan. Of the others the plans are tried: then none there costs less than the best."""
        single = (boxes.lower == boxes.upper).all(-1) & torch.isfinite(boxes.bound)
        for point in boxes.lower[single].cpu().numpy():
            self._best.consider(point.reshape(self._best.inputs.shape))
        return boxes[~single]

    def _split(self, count: int) -> None:
        of, e = self._of, self._effort
        order = self.open.bound.argsort()
        taken, rest = self.open[order[:count]], order[count:]
        children, real = self._children(taken)
        rates = self._rates(len(taken)).repeat_interleave(2 * real.shape[1])
        children = of.ascend(of.enclose(children), e.ascents, rates)
        kept = self._chosen(taken, children, real)
        self.nodes += len(kept)
        kept = self._without_single(kept)
        self._improve(kept.corner)
        kept = kept[kept.bound < self.cut]
        if len(kept) and e.units:
            units = kept.gap.topk(min(e.units, kept.gap.shape[1]), -1).indices
            kept = of.enclose(of.tighten(kept, units, self.cut, e.tighten_steps, e.tighten_rate))
            kept = kept[kept.bound < self.cut]
        if len(kept) and e.units:
            kept = of.ascend(kept, e.last_ascents, self._rates(len(kept)))
            kept = kept[kept.bound < self.cut]
        remaining = self.open[rest]
        self.open = Boxes.joined([remaining[remaining.bound < self.cut], kept])

    def _improve(self, corners: Tensor) -> None:
        """Plans near points where relaxations are low, and near the best one: 0.1 to 10 % of the range away."""
        of, e = self._of, self._effort
        corners = corners[self._descent.cost(corners).argsort()[: e.followed]]
        size = (of.upper - of.lower) * 10.0 ** (-3.0 + 2.0 * self._uniform(e.followed, 1))
        near = self._known() + size * (2.0 * self._uniform(e.followed, len(of.lower)) - 1.0)
        self._offer(self._descent.improved(torch.cat([corners, near]), e.later_climbs, 0.03))

    def _children(self, boxes: Boxes) -> tuple[Boxes, Tensor]:
        """(boxes, candidates, 2) in this order: both halves by each candidate; and which candidates split at all."""
        of, e = self._of, self._effort
        relus, inputs = min(e.relus, boxes.gap.shape[1]), min(e.inputs, len(of.lower))
        units = boxes.gap.topk(relus, -1).indices
        along = of.influence(boxes).topk(inputs, -1).indices
        if of.form.choices:  # one candidate is the input that is furthest from its choices
            off = (boxes.corner - self._descent.allowed(boxes.corner.clone())).abs()
            off = torch.where(boxes.lower < boxes.upper, off / (of.upper - of.lower).clamp(min=1e-300) + 1e-9, 0.0)
            along[:, -1] = off.argmax(-1)
        count = relus + inputs
        out = boxes.repeated(2 * count)
        rows = torch.arange(len(out), device=units.device).reshape(len(boxes), count, 2)
        for c in range(relus):
            low, high, unit = rows[:, c, 0], rows[:, c, 1], units[:, c]
            out.hi[low, unit] = out.hi[low, unit].clamp(max=0.0)
            out.lo[high, unit] = out.lo[high, unit].clamp(min=0.0)
        for c in range(inputs):
            low, high, i = rows[:, relus + c, 0], rows[:, relus + c, 1], along[:, c]
            ends = self._halves(boxes, i)
            out.upper[low, i], out.lower[high, i] = ends
        mixed = (boxes.lo.gather(1, units) < 0.0) & (boxes.hi.gather(1, units) > 0.0)
        wide = boxes.lower.gather(1, along) < boxes.upper.gather(1, along)
        return out, torch.cat([mixed, wide], 1)

    def _halves(self, boxes: Boxes, along: Tensor) -> tuple[Tensor, Tensor]:
        """Where the lower halves end and the upper ones begin; between two choices if the input has any."""
        rows = torch.arange(len(boxes), device=along.device)
        low, high = boxes.lower[rows, along], boxes.upper[rows, along]
        ends = 0.5 * (low + high)
        begins = ends.clone()
        for i, allowed in self._of.form.choices.items():
            values = torch.as_tensor(allowed, device=along.device)
            here = along == i
            k = torch.searchsorted(values, ends[here], right=True).clamp(min=1, max=max(len(values) - 1, 1))
            ends[here] = torch.minimum(values[k - 1], high[here])
            begins[here] = torch.minimum(values[k.clamp(max=len(values) - 1)], high[here])
        return ends, begins

    def _chosen(self, parents: Boxes, children: Boxes, real: Tensor) -> Boxes:
        """Of the candidates of each box, the pair whose bounds rise most, by the product of both (strong branching)."""
        cut, count = self.cut, real.shape[1]
        gain = children.bound.clamp(max=cut).reshape(len(parents), count, 2) - parents.bound[:, None, None]
        least = 1e-6 * (cut - parents.bound)[:, None, None].clamp(min=1e-12)
        merit = torch.maximum(gain, least).prod(-1)
        best = torch.where(real, merit, -1.0).argmax(-1)
        first = 2 * (torch.arange(len(parents), device=best.device) * count + best)
        return children[torch.stack([first, first + 1], -1).reshape(-1)]

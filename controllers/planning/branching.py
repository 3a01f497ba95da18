"""A branch and bound of our own through a ReLU model: batches of boxes of inputs, bounded without any solver.

Each round takes the boxes with the least bounds, halves each along an input or fixes the sign of one of its ReLUs,
whichever of a few candidates raises the bounds of both children most, and drops what cannot hold a better plan. The
same tensors give points where relaxations are low; gradient steps from there give better plans. The idea of searching
and bounding in one batch is that of BaB-ND (Shen et al., *BaB-ND: Long-horizon motion planning with branch-and-bound
and neural dynamics*, ICLR 2025); splits of ReLUs, tightening by the cost known and the choice by trial are added here.
"""

from __future__ import annotations

import time

import numpy as np

from control_stack.errors import InvalidInput, MissingDependency
from control_stack.learning.spec import Goal
from control_stack.types import Array
from controllers.planning.branching_form import build
from controllers.planning.mip.best import Best
from controllers.planning.mip.solve import RELATIVE_GAP, Answer
from controllers.planning.problem import Plan, Problem

try:
    import torch

    from controllers.planning.branching_bounds import Bounder
    from controllers.planning.branching_tree import Effort, Tree
except ImportError:
    raise MissingDependency("torch", "learn") from None


class BranchAndBound:
    """A planner (``problem.Planner``) with a proven bound; anytime. Needs the extra ``learn``.

    Args:
        problem: Any: all stage costs, linear constraints, obstacles and choices.
        max_nodes: Boxes bounded in calls without a deadline; None until proven.
        relative_gap: At which a plan counts as optimal.
        device: Of torch.
        seed: Of the random plans.
        effort: How the time is spent.

    Raises:
        InvalidInput: A budget below 1 or a device that there is not.
    """

    def __init__(
        self, problem: Problem, max_nodes: int | None = 1000, relative_gap: float = RELATIVE_GAP,
        device: str = "cpu", seed: int = 0, effort: Effort | None = None,
    ):  # fmt: skip
        if max_nodes is not None and max_nodes < 1:
            raise InvalidInput(f"branch and bound: max_nodes is at least 1, got {max_nodes}")
        try:
            torch.zeros(1, dtype=torch.float64, device=device)
        except (RuntimeError, AssertionError) as error:
            raise InvalidInput(f"branch and bound: no device '{device}': {str(error).splitlines()[0]}") from None
        self.problem, self.max_nodes, self.relative_gap = problem, max_nodes, relative_gap
        self.effort = Effort() if effort is None else effort
        self._device, self._seed = device, seed
        self.nodes = 0  # of the last call

    def reset(self) -> None:
        """Nothing is kept between calls."""

    def warm(self) -> None:
        """Runs every operation once, so that the first call does not pay for libraries that load late."""
        x0 = 0.5 * (self.problem.spec.state_lower + self.problem.spec.state_upper)
        low, high = self.problem.spec.output_range()
        middle = 0.5 * (low + high)
        goal = Goal(middle, np.full(len(middle), np.inf), np.zeros(len(middle)))
        self.plan(x0, goal, deadline=0.2)

    def close(self) -> None:
        """Nothing to end."""

    def plan(
        self, x0: Array, goal: Goal, start: Array | None = None, before: Array | None = None,
        deadline: float | None = None,
    ) -> Plan:  # fmt: skip
        """See ``problem.Planner``. The bound holds for every plan that keeps the constraints within the tolerance.

        Raises:
            InfeasibleStart: The start breaks a constraint.
            InvalidInput: A state, goal, start or input that cannot be meant.
        """
        began = time.monotonic()
        problem = self.problem
        x0, goal = problem.check(x0, goal, before, deadline)
        best = Best(problem, x0, goal, before, start)
        bounder = Bounder(build(problem, x0, goal, before), self._device)
        with torch.no_grad():
            tree = Tree(problem, bounder, best, self.effort, self.relative_gap, self._seed)
            tree.search(
                None if deadline is not None else self.max_nodes, None if deadline is None else began + deadline
            )
        self.nodes = tree.nodes
        done = not len(tree.open)
        status = "stopped" if not done else "infeasible" if best.states is None else "optimal"
        return best.plan(Answer(status, tree.bound, tree.nodes), self.relative_gap, began, tree.times)

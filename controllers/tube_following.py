"""A plan with a tube, flown: plans anew now and then, and in between the feedback holds the state to the last one.

    u = v_j + K (x - z_j),    |x - z_j|_P <= s_j     j steps after the plan z, v began at the measured state

A new plan begins at the measured state, where the tube has no width. If none is found the last one goes on: its tube
holds for the whole horizon, whatever became of later attempts.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from control_stack.errors import InvalidInput
from control_stack.learning.lipschitz.dynamics import LipschitzDynamics
from control_stack.learning.lipschitz.tube import Tube
from control_stack.types import Array

Planner = Callable[[Array, Array], "Array | None"]  # state (nx,), reference -> inputs (N, nu), or None: no plan


class TubeFollower:
    """Call it once a step of the model.

    Args:
        model, tube: Of the plans.
        plan: Gives plans that leave room for the tube (``with_tube`` of NMPC or of the mixed-integer planner), or none.
        horizon: N. every: Steps between two plans.

    Attributes:
        planned, kept, lost: Calls on which a plan was made; on which one was due and the last went on; and that came
            after the end of the last plan, whose last state is then held without any assurance.
        deviation, radius: |x - z_j|_P and s_j of the last call; both are 0 where a plan begins. age: Its j.
    """

    def __init__(self, model: LipschitzDynamics, tube: Tube, plan: Planner, horizon: int, every: int = 1):
        """Raises InvalidInput for a tube of another model, or plans that are due after they have ended."""
        tube.check_model(model)
        if not 1 <= every <= horizon:
            raise InvalidInput(f"tube: plans of {horizon} steps cannot be due every {every}")
        self._model, self._tube, self._plan, self._every = model, tube, plan, every
        self._radii = tube.radii(horizon)
        self._names = (*model.spec.state, *model.spec.inputs)
        self.planned = self.kept = self.lost = 0
        self.reset()

    def reset(self) -> None:
        """Forgets the plan; counts stay."""
        self._states: Array | None = None
        self._inputs, self._next, self.age = np.zeros((0, 0)), 0, 0
        self.deviation = self.radius = 0.0

    def __call__(self, x: Array, reference: Array) -> Array:
        """(nu,) the input at a state (nx,).

        Raises:
            InvalidInput: There is no plan at all yet. What the planner raises.
        """
        if self._states is None or self._next % self._every == 0 or self._next >= len(self._inputs):
            self._renew(x, reference)
        if self._states is None:
            raise InvalidInput("tube: there is no plan from here, and none before that could go on")
        j = self.age = min(self._next, len(self._inputs))
        self._next += 1
        self.lost += j == len(self._inputs)
        error = x - self._states[j]
        self.deviation, self.radius = float(np.linalg.norm(self._tube.shape @ error)), float(self._radii[j])
        return np.asarray(self._inputs[min(j, len(self._inputs) - 1)] + self._tube.feedback @ error)

    def _renew(self, x: Array, reference: Array) -> None:
        inputs = self._plan(x, reference)
        if inputs is not None:
            # Solvers leave gaps of their tolerance; the tube is about what the model makes of the inputs.
            states = self._model.rollout(x, inputs)
            try:
                self._tube.check_region(states, inputs, self._radii, self._names)
            except InvalidInput:
                inputs = None
        if inputs is None:
            self.kept += 1
            return
        self._states, self._inputs, self._next = states, inputs, 0
        self.planned += 1

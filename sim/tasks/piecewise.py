"""A piecewise-affine map whose pieces are known, so that what is learnt and planned can be checked exactly.

    x+ = A x + B u + c + sum_j V_j max(0, W_j x + S_j u + b_j)

It is continuous; each hinge j that is on (argument above 0) adds an affine term, and a set of hinges is a piece.
Six hinges make it a one-layer ReLU network of six neurons: a model of that size can be exact. State and input
have no unit; dt is nominal.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from control_stack.learning.spec import Goal, TaskSpec
from control_stack.types import Array
from sim.tasks.numeric import NumericTask

# A slow rotation that loses 20 % a step; the hinges bend it. |x_i| <= 2 and |u| <= 1 are never left (a test).
A = 0.8 * np.array([[np.cos(0.4), -np.sin(0.4)], [np.sin(0.4), np.cos(0.4)]])
B = np.array([[0.1], [0.3]])
C = np.array([0.05, 0.25])
W = np.array([[1.0, 0.0], [0.0, 1.0], [-0.7, 0.7], [0.6, 0.8], [-1.0, 0.2], [0.3, -1.0]])
S = np.array([[0.0], [0.5], [0.0], [-0.4], [0.3], [0.0]])
BIAS = np.array([-0.2, 0.1, -0.3, -0.5, -0.4, 0.2])
V = np.array([[-0.5, 0.2, 0.3, -0.3, 0.4, 0.1], [0.3, -0.5, 0.2, -0.2, -0.1, 0.3]])
_STATE, _GOAL, _REACHED = 2.0, 0.5, 0.05


class PiecewiseTask(NumericTask):
    """Two states, one input; there are no contacts."""

    frames = "numbers without a frame"
    noise = 0.6
    feedback = np.zeros((2, 2))
    spec = TaskSpec(
        state=("x0 [1]", "x1 [1]"),
        inputs=("u [1]",),
        parameters=(),
        defaults=np.zeros(0),
        dt=0.1,
        task="piecewise",
        keypoints=(),
        state_lower=np.full(2, -_STATE),
        state_upper=np.full(2, _STATE),
        input_lower=np.array([-1.0]),
        input_upper=np.array([1.0]),
        output_names=("x0 [1]", "x1 [1]"),
        outputs=np.eye(2),
        weights=np.ones(2),
    )

    def advance(self, x: Array, u: Array) -> tuple[Array, NDArray[np.bool_]]:
        """The map above."""
        argument = x @ W.T + u @ S.T + BIAS
        following = x @ A.T + u @ B.T + C + np.maximum(argument, 0.0) @ V.T
        return following, np.zeros(following.shape[:-1], dtype=bool)

    def piece(self, x: Array, u: Array) -> NDArray[np.bool_]:
        """(..., 6): which hinges are on."""
        return x @ W.T + u @ S.T + BIAS > 0.0

    def affine(self, piece: NDArray[np.bool_]) -> tuple[Array, Array, Array]:
        """(A, B, c) of one piece (6,): there x+ = A x + B u + c."""
        on = V * piece
        return A + on @ W, B + on @ S, C + on @ BIAS

    def start(self, rng: np.random.Generator) -> Array:
        """Anywhere within the limits."""
        return rng.uniform(-_STATE, _STATE, 2)

    def goal(self, seed: int) -> Goal:
        """A point in the middle of the range."""
        target = np.random.default_rng((seed, 1)).uniform(-_GOAL, _GOAL, 2)
        return self.spec.check_goal(Goal(target, np.full(2, _REACHED), np.zeros(2)))

"""A feedback for the shipped model of a planar quadrotor, and a set around hover that is proved never to be left.

Run: python examples/prove_a_set.py set.json, then
control-stack verify model shipped:planar-quadrotor --box set.json --json out.json
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from scipy.linalg import solve_discrete_are, solve_discrete_lyapunov

from control_stack.learning.lipschitz.dynamics import LipschitzDynamics
from control_stack.learning.shipped import lipschitz_model_of
from control_stack.quadrotor.parameters import GRAVITY

HOVER = np.array([0.0, 1.0, 0.0, 0.0, 0.0, 0.0])  # y, z, their rates, roll, its rate; SI
WEIGHTS, EFFORT = np.diag([30.0, 30.0, 3.0, 3.0, 3.0, 0.03]), np.diag([0.1, 0.1])
SIZE, RATE = 1.0, 0.88


def hovering_set(model: LipschitzDynamics) -> dict:
    """The content of a box file: an ellipsoid {c + G y : |y| <= 1} and the feedback that is to keep it."""
    hover = np.array([GRAVITY, 0.0])
    for _ in range(20):  # Newton, least squares: the input that holds the model at HOVER
        rest = model.step(HOVER, hover) - HOVER
        hover = hover - np.linalg.lstsq(slope(lambda u: model.step(HOVER, u), hover), rest, rcond=None)[0]
    a = slope(lambda x: model.step(x, hover), HOVER)
    b = slope(lambda u: model.step(HOVER, u), hover)
    s = solve_discrete_are(a, b, WEIGHTS, EFFORT)
    feedback = -np.linalg.solve(EFFORT + b.T @ s @ b, b.T @ s @ a)
    # P with (A + B K)' P (A + B K) < RATE^2 P; its level sets shrink
    p = solve_discrete_lyapunov(((a + b @ feedback) / RATE).T, np.diag([4.0, 4.0, 2.8, 2.8, 16.0, 1.0]))
    generators = SIZE * np.linalg.inv(np.linalg.cholesky(p).T)
    return {
        "invariant": {
            "shape": "ellipsoid",
            "matrix": generators.tolist(),
            "center": HOVER.tolist(),
            "feedback": feedback.tolist(),
            "input": hover.tolist(),
            "disturbance": [0.0, 0.0, 0.0005, 0.0005, 0.0, 0.0],
        }
    }


def slope(function: Callable[[np.ndarray], np.ndarray], at: np.ndarray, step: float = 1e-4) -> np.ndarray:
    """Jacobian by central differences."""
    moves = step * np.eye(len(at))
    return np.stack([(function(at + d) - function(at - d)) / (2.0 * step) for d in moves], axis=1)


if __name__ == "__main__":
    content = hovering_set(LipschitzDynamics.load(lipschitz_model_of("planar-quadrotor")))
    Path(sys.argv[1]).write_text(json.dumps(content, indent=1))

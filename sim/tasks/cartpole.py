"""A cart with a pole between two soft walls, which the tip of the pole may lean on.

    (M + m) v' + m l cos(a) w' = f + F + m l sin(a) w^2
    m l cos(a) v' + m l^2 w'   = m g l sin(a) + F l cos(a)

with the cart at p (velocity v), the pole's angle a from upright, positive towards +x (rate w), the force f on the
cart, and the wall's force on the tip, at p + l sin(a), F = k max(0, -d - tip) - k max(0, tip - d). Classical
Runge-Kutta steps of 1 ms: the spring and the mass of the pole swing in 89 ms.

The two contacts make it the textbook case of hybrid control (Marcucci, Tedrake, "Warm start of mixed-integer
programs for model predictive control of hybrid systems", IEEE TAC 2021, has linear dynamics between such walls).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from control_stack.learning.spec import Goal, TaskSpec
from control_stack.quadrotor.parameters import GRAVITY
from control_stack.types import Array
from sim.tasks.numeric import NumericTask

CART, POLE = 1.0, 0.2  # kg; the pole's mass sits at its tip
LENGTH = 0.5  # m
WALL = 0.35  # m from the middle: a pole on a centred cart touches at 44 degrees
STIFFNESS = 1e3  # N/m: soft; the pole's weight presses 2 mm, an impact at 1 m/s 14 mm
FORCE = 10.0  # N
DT = 0.05  # s
_STEP = 1e-3  # s
_LIMITS = np.array([0.6, np.pi / 2.0, 4.0, 12.0])
_START = np.array([0.2, 0.6, 0.5, 2.0])
_REACHED = np.array([0.1, 0.1, 0.2, 0.5])
_WEIGHTS = np.array([1.0, 1.0, 0.2, 0.1])


class CartPoleTask(NumericTask):
    """State p [m], a [rad], v [m/s], w [rad/s]; input f [N]; an episode that leaves the limits is over."""

    frames = "x along the rail from the middle; the angle from upright, positive towards +x"
    noise = 2.5
    # The first holds the pole up (eigenvalues up to 0.95), the second the cart while the pole swings between the walls.
    feedback = np.array([[3.0, 36.0, 5.0, 7.0], [-15.0, 0.0, -6.0, 0.0]])
    spec = TaskSpec(
        state=("cart.x [m]", "pole.angle [rad]", "cart.v [m/s]", "pole.rate [rad/s]"),
        inputs=("force [N]",),
        parameters=(),
        defaults=np.zeros(0),
        dt=DT,
        task="cartpole",
        keypoints=(),
        state_lower=-_LIMITS,
        state_upper=_LIMITS,
        input_lower=np.array([-FORCE]),
        input_upper=np.array([FORCE]),
        output_names=("cart.x [m]", "pole.angle [rad]", "cart.v [m/s]", "pole.rate [rad/s]"),
        outputs=np.eye(4),
        weights=_WEIGHTS,
    )

    def advance(self, x: Array, u: Array) -> tuple[Array, NDArray[np.bool_]]:
        """Runge-Kutta steps over dt."""
        force = np.broadcast_to(np.asarray(u, dtype=float)[..., 0], x.shape[:-1])
        z = np.moveaxis(np.asarray(x, dtype=float), -1, 0)
        touched = np.zeros(z.shape[1:], dtype=bool)
        h = _STEP
        for _ in range(round(DT / _STEP)):
            k1 = _derivative(z, force)
            k2 = _derivative(z + 0.5 * h * k1, force)
            k3 = _derivative(z + 0.5 * h * k2, force)
            k4 = _derivative(z + h * k3, force)
            z = z + h / 6.0 * (k1 + 2.0 * k2 + 2.0 * k3 + k4)
            touched |= np.abs(z[0] + LENGTH * np.sin(z[1])) > WALL
        return np.moveaxis(z, 0, -1), touched

    def start(self, rng: np.random.Generator) -> Array:
        """Leaning and moving: from some starts the pole needs the wall."""
        return rng.uniform(-_START, _START)

    def goal(self, seed: int) -> Goal:
        """Upright and at rest in the middle; the seed changes nothing."""
        return self.spec.check_goal(Goal(np.zeros(4), _REACHED, np.zeros(4)))


def energy(x: Array) -> Array:
    """Kinetic and potential energy with the springs', J; (..., 4) -> (...)."""
    p, a, v, w = np.moveaxis(x, -1, 0)
    tip = p + LENGTH * np.sin(a)
    pressed = np.maximum(np.abs(tip) - WALL, 0.0)
    kinetic = 0.5 * (CART + POLE) * v**2 + POLE * LENGTH * np.cos(a) * v * w + 0.5 * POLE * (LENGTH * w) ** 2
    return kinetic + POLE * GRAVITY * LENGTH * np.cos(a) + 0.5 * STIFFNESS * pressed**2


def _derivative(z: Array, force: Array) -> Array:
    p, a, v, w = z
    sin, cos = np.sin(a), np.cos(a)
    tip = p + LENGTH * sin
    wall = STIFFNESS * (np.maximum(-WALL - tip, 0.0) - np.maximum(tip - WALL, 0.0))
    along = force + wall + POLE * LENGTH * sin * w**2
    around = POLE * GRAVITY * sin + wall * cos  # the second line over l
    faster = (along - cos * around) / (CART + POLE * sin**2)
    return np.stack([v, w, faster, (around / POLE - cos * faster) / LENGTH])

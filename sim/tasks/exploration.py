"""How data is collected: smooth inputs that bring about the contacts a model has to learn."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from control_stack.types import Array
from sim.tasks.numeric import NumericTask
from sim.tasks.planar import SPEED, PlanarTask, world_keypoints

Episode = tuple[Array, Array, NDArray[np.bool_]]  # states (T + 1, nx), inputs (T, nu), contact (T,)

_SMOOTH = 0.6  # share of a planar velocity kept from step to step: the rest follows within 0.2 s
_NEAR = 0.02  # m at which a point counts as reached
_LONGEST = 18  # steps of one stroke
_AIM = 0.02  # m, standard deviation of where a stroke meets the object
_MEMORY = 0.8  # correlation of numeric inputs from one step to the next


class Strokes:
    """Pushes through the objects: go beside one, then through it towards a point of the table, again and again.

    Each stroke draws the keypoint to push, where to push it to, and the speed; velocities are filtered, with noise.
    """

    def __init__(self, rng: np.random.Generator):
        self._rng = rng
        self._velocity = np.zeros(2)
        self._points: list[Array] = []
        self._left = 0
        self._speed = SPEED

    def __call__(self, x: Array) -> Array:
        """Velocity (2,) of the pusher in a planar task's state, m/s."""
        pusher = x[:2]
        while self._points and np.linalg.norm(self._points[0] - pusher) < _NEAR:
            self._points.pop(0)
        if not self._points or self._left == 0:
            self._begin(world_keypoints(x))
        self._left -= 1
        way = self._points[0] - pusher
        wanted = way / max(float(np.linalg.norm(way)), _NEAR) * self._speed + 0.15 * SPEED * self._rng.standard_normal(
            2
        )
        self._velocity = _SMOOTH * self._velocity + (1.0 - _SMOOTH) * wanted
        return self._velocity

    def _begin(self, points: Array) -> None:
        rng = self._rng
        # Anywhere between two keypoints: their middle may be inside the object, where pushes move it most.
        a, b = points[rng.integers(len(points), size=2)]
        aim = a + rng.uniform() * (b - a) + _AIM * rng.standard_normal(2)
        through = rng.uniform(-0.2, 0.2, 2) - aim
        through /= max(float(np.linalg.norm(through)), 1e-6)
        beside, beyond = rng.uniform(0.04, 0.09), rng.uniform(0.03, 0.15)
        self._points = [aim - beside * through, aim + beyond * through]
        self._speed, self._left = SPEED * rng.uniform(0.5, 1.3), _LONGEST


def explore_planar(task: PlanarTask, seed: Sequence[int], steps: int) -> Episode:
    """One episode of strokes; ``seed`` is drawn from, so that equal seeds give equal episodes."""
    rng = np.random.default_rng(seed)
    states = [task.reset(int(rng.integers(2**31)))]
    strokes, inputs, contact = Strokes(rng), [], []
    for _ in range(steps):
        states.append(task.step(strokes(states[-1])))
        inputs.append(task.applied)
        contact.append(task.contact)
    return np.array(states), np.array(inputs), np.array(contact)


def explore_numeric(task: NumericTask, seeds: Sequence[Sequence[int]], steps: int) -> list[Episode]:
    """Episodes side by side: correlated noise and a feedback.

    An episode ends where its state leaves the limits; of one that would end at once, one step is kept.
    """
    spec, count = task.spec, len(seeds)
    rngs = [np.random.default_rng(seed) for seed in seeds]
    x = np.array([task.start(rng) for rng in rngs])
    share = np.array([rng.uniform(0.0, 1.2) for rng in rngs])[:, None]
    noise = np.array([rng.standard_normal((steps, len(spec.inputs))) for rng in rngs])
    gain = share * task.feedback[0] + (1.0 - share) * task.feedback[1]
    states = np.empty((count, steps + 1, len(spec.state)))
    inputs, contact = np.empty((count, steps, len(spec.inputs))), np.empty((count, steps), dtype=bool)
    states[:, 0], wave = x, noise[:, 0]
    for t in range(steps):
        wave = _MEMORY * wave + np.sqrt(1.0 - _MEMORY**2) * noise[:, t]
        inputs[:, t] = spec.limited(task.noise * wave + np.sum(gain * x, axis=1, keepdims=True))
        x, contact[:, t] = task.advance(x, inputs[:, t])
        states[:, t + 1] = x
    outside = np.any((states[:, 1:] < spec.state_lower) | (states[:, 1:] > spec.state_upper), axis=2)
    lengths = np.where(outside.any(axis=1), np.maximum(outside.argmax(axis=1), 1), steps)
    return [(s[: n + 1], u[:n], c[:n]) for s, u, c, n in zip(states, inputs, contact, lengths, strict=True)]

"""What is flown where vehicles cross, and where everybody begins: frozen, so that gains can be compared on it.

Crazyflies stay half a metre beside each other, because below a vehicle is its downwash. Eight of them that meet in the
middle need a ring of 0.65 m radius there, on a circle of 1.6 m: they must decide who passes on which side. No two want
the same speed, and each sees 2 m. ``benchmarks/lipschitz_crossing.py`` checks that the best of all fixed gains, from
those at which vehicles creep to those that act no more, succeeds in 60 to 90 % of such crossings: where it always
does, as with 0.35 m between centres, there is nothing to adapt.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from control_stack.types import Array


@dataclass(frozen=True)
class Crossing:
    """What is flown; its difficulty is frozen.

    Attributes:
        vehicles: On the circle. radius: Of it, m. distance: Between centres, kept horizontally, m.
        slowest, speed: m/s, wanted: each vehicle has its own between them. patience: s until all must have arrived.
        near: m from the goal, is arrived.
        spread: Standard deviation of starts from a regular polygon, m.
        sight: How far a vehicle sees, m: nobody further away has a row.
        push: Unknown acceleration of each vehicle, constant over a crossing, m/s^2 at most.
        deceleration: That each vehicle counts on, m/s^2. strongest: Acceleration that it asks for, m/s^2.
    """

    vehicles: int = 8
    radius: float = 1.6
    distance: float = 0.5
    slowest: float = 1.0
    speed: float = 1.2
    patience: float = 12.0
    near: float = 0.2
    spread: float = 0.08
    sight: float = 2.0
    push: float = 0.3
    deceleration: float = 2.0
    strongest: float = 7.0


class Start(NamedTuple):
    """place, goal, push: (n, 2) m, m, m/s^2. speed: (n,) m/s."""

    place: Array
    goal: Array
    push: Array
    speed: Array


def start_of(seed: int, crossing: Crossing) -> Start:
    """Where the vehicles of one crossing begin and want to, how fast, and what pushes them unknown to all."""
    rng, n = np.random.default_rng((23, seed)), crossing.vehicles
    turn = 2.0 * np.pi * (np.arange(n) / n + rng.uniform())
    ring = crossing.radius * np.stack([np.cos(turn), np.sin(turn)], axis=-1)
    place = ring + crossing.spread * rng.standard_normal((n, 2))
    angle, size = rng.uniform(0.0, 2.0 * np.pi, n), crossing.push * rng.uniform(0.0, 1.0, n)
    push = size[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    return Start(place, -ring, push, rng.uniform(crossing.slowest, crossing.speed, n))


def wanted_velocity(to_goal: Array, speed: Array) -> Array:
    """(..., 2) m/s straight to the goal, slower close to it: what a vehicle does that is alone.

    Args:
        to_goal: (..., 2) m. speed: (...) m/s.
    """
    length = np.sqrt((to_goal * to_goal).sum(-1))
    return np.asarray(to_goal * (np.minimum(speed, 1.5 * length) / np.maximum(length, 1e-6))[..., None])

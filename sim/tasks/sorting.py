"""Sorting: discs of two colours, pushed into the zone of their colour."""

from __future__ import annotations

import numpy as np

from control_stack.learning.spec import Goal
from control_stack.types import Array
from sim.tasks.planar import PlanarTask, planar_spec
from sim.tasks.shapes import disc
from sim.tasks.world import PUSHER_RADIUS, PushedWorld, RigidBodies

COLOURS = (0, 0, 1, 1)  # of each disc
RADIUS = 0.025  # m
_START = 0.12  # m: discs start within, apart by at least _APART between centres
_APART = 0.06
_PUSHER = 0.2  # m: the pusher starts within, at least _CLEAR from the centres of discs
_CLEAR = RADIUS + PUSHER_RADIUS + 0.01
ZONE = np.array([0.06, 0.2])  # m, half sizes across and along the edge of the table
ZONE_CENTRE = 0.2  # m from the middle


class SortingTask(PlanarTask):
    """The state is a set: discs of one colour may be exchanged. See ``sim.tasks.planar`` for state and input."""

    def __init__(self) -> None:
        self.shape = disc(RADIUS)
        names = tuple(f"disc_{k}" for k in range(len(COLOURS)))
        super().__init__(planar_spec("sorting", names, 2.0 * RADIUS * len(COLOURS)))

    def _build(self, world: PushedWorld) -> RigidBodies:
        return RigidBodies(world, [self.shape] * len(COLOURS))

    def _configuration(self, points: Array) -> Array:
        return np.hstack([points, np.zeros((len(points), 1))])

    def points(self, configuration: Array) -> Array:
        """Centres (K, 2) in the world, m, of poses (K, 3)."""
        return configuration[:, :2]

    def outlines(self, points: Array) -> list[Array]:
        """A circle for each disc."""
        return [self.shape.outlines(point[None])[0] for point in points]

    def _draw(self, rng: np.random.Generator) -> tuple[Array, Array]:
        centres = np.empty((0, 2))
        while len(centres) < len(COLOURS):
            point = rng.uniform(-_START, _START, 2)
            if np.all(np.linalg.norm(centres - point, axis=1) > _APART):
                centres = np.vstack([centres, point])
        while True:
            pusher = rng.uniform(-_PUSHER, _PUSHER, 2)
            if np.linalg.norm(centres - pusher, axis=1).min() > _CLEAR:
                return pusher, self._configuration(centres)

    def goal(self, seed: int) -> Goal:
        """Zones at two opposite edges; which, and whose colour is where, is drawn. Whole discs inside cost nothing."""
        rng = np.random.default_rng((seed, 1))
        axis, sign = int(rng.integers(2)), 1.0 - 2.0 * rng.integers(2)
        centre, half = np.zeros(2), ZONE if axis == 0 else ZONE[::-1]
        centre[axis] = ZONE_CENTRE * sign
        target = np.concatenate([centre * (1.0 - 2.0 * colour) for colour in COLOURS])
        inside = np.tile(half - RADIUS, len(COLOURS))
        return self.spec.check_goal(Goal(target, inside, inside))

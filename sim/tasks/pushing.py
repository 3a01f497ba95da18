"""Pushing one object, a disc, a box or a T, to a pose."""

from __future__ import annotations

import numpy as np

from control_stack.learning.spec import Goal
from control_stack.types import Array
from sim.tasks.planar import PlanarTask, planar_spec
from sim.tasks.shapes import Shape, box, disc, placed, tee
from sim.tasks.world import PUSHER_RADIUS, PushedWorld, RigidBodies

SHAPES = {
    "pushing-disc": disc(0.04),
    "pushing-box": box(0.08),
    "pushing-t": tee(0.12, 0.08, 0.03),
}
_START = 0.15  # m: starts lie within, goals within _GOAL; both leave room for the pusher all around
_GOAL = 0.2
_GAP = (0.01, 0.06)  # m between the pusher and the circle around the object
_WAY = (0.08, 0.2)  # m from start to goal
_TURN = np.pi / 3.0  # rad between start and goal, at most
_REACHED = {"pushing-disc": 0.01, "pushing-box": 0.02, "pushing-t": 0.02}  # m, each keypoint in x and y


class PushingTask(PlanarTask):
    """One object; see ``sim.tasks.planar`` for state and input."""

    def __init__(self, name: str):
        self.shape: Shape = SHAPES[name]
        super().__init__(planar_spec(name, self.shape.keypoint_names, 2.0 * self.shape.extent))

    def _build(self, world: PushedWorld) -> RigidBodies:
        return RigidBodies(world, [self.shape])

    def _configuration(self, points: Array) -> Array:
        return self.shape.pose(points)[None]

    def points(self, configuration: Array) -> Array:
        """Keypoints (K, 2) in the world, m, of the pose (1, 3)."""
        return placed(self.shape.keypoints, configuration[0])

    def outlines(self, points: Array) -> list[Array]:
        """Curves of the object's parts."""
        return self.shape.outlines(points)

    def _draw(self, rng: np.random.Generator) -> tuple[Array, Array]:
        pose = np.array([*rng.uniform(-_START, _START, 2), rng.uniform(-np.pi, np.pi)])
        away, side = self.shape.extent + PUSHER_RADIUS + rng.uniform(*_GAP), rng.uniform(-np.pi, np.pi)
        return pose[:2] + away * np.array([np.cos(side), np.sin(side)]), pose[None]

    def goal(self, seed: int) -> Goal:
        """All keypoints at a pose 8 to 20 cm and up to 60 degrees from the start of the seed."""
        start = self._draw(np.random.default_rng((seed, 0)))[1][0]
        rng = np.random.default_rng((seed, 1))
        pose = np.full(3, np.inf)
        while np.abs(pose[:2]).max() > _GOAL:
            way, course = rng.uniform(*_WAY), rng.uniform(-np.pi, np.pi)
            pose = start + np.array([way * np.cos(course), way * np.sin(course), rng.uniform(-_TURN, _TURN)])
        target = self.points(pose[None]).ravel()
        return self.spec.check_goal(
            Goal(target, np.full(target.shape, _REACHED[self.spec.task]), np.zeros(target.shape))
        )

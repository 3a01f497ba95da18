"""A rope on the table, pushed into a shape."""

from __future__ import annotations

import math

import numpy as np

from control_stack.learning.spec import Goal
from control_stack.types import Array
from sim.tasks.planar import HALF, PlanarTask, planar_spec
from sim.tasks.world import PUSHER_RADIUS, PushedWorld

KEYPOINTS = 10
LINK = 0.04  # m between keypoints
RADIUS = 0.006  # m, half the rope's thickness
SHARPEST = 2.0  # rad between neighbouring links: a rope of this thickness does not fold flat
_MASS = 1.0  # kg in all; the motion does not depend on it
_UPRIGHT = 1e3  # kg m^2 about x and y of each link
_BEND = (1.5, 2.0)  # rad from end to end, at most: start, goal
_JITTER = 0.15  # rad, of each joint at the start
_GAP = (0.01, 0.05)  # m between rope and pusher at the start
_REACHED = 0.03  # m, each keypoint in x and y
_LEVEL = [0.0, 0.0, 0.0, 1.0]


class RopeBody:
    """A chain of capsules with free joints, in reduced coordinates: its length is exact.

    The configuration is (x, y of the first keypoint; angle of the first link in the world; angles of joints).
    A chain of free links without inertia is a rope without stiffness. It does not collide with itself.
    """

    def __init__(self, world: PushedWorld):
        pb, self._options = world.pb, world.options
        self._pb = pb
        joints = KEYPOINTS - 2
        capsule = {
            "shapeType": pb.GEOM_CAPSULE, "radius": RADIUS, "height": LINK,
            "collisionFrameOrientation": [0.0, math.sqrt(0.5), 0.0, math.sqrt(0.5)],  # Bullet's capsules lie along z
        }  # fmt: skip
        ahead = [LINK / 2.0, 0.0, 0.0]
        first = pb.createCollisionShape(**capsule, **self._options)
        other = pb.createCollisionShape(**capsule, collisionFramePosition=ahead, **self._options)
        mass = _MASS / (joints + 1)
        self._body = pb.createMultiBody(
            mass, first, -1, [0.0, 0.0, 0.0], _LEVEL, linkMasses=[mass] * joints,
            linkCollisionShapeIndices=[other] * joints, linkVisualShapeIndices=[-1] * joints,
            linkPositions=[ahead] + [[LINK, 0.0, 0.0]] * (joints - 1), linkOrientations=[_LEVEL] * joints,
            linkInertialFramePositions=[ahead] * joints, linkInertialFrameOrientations=[_LEVEL] * joints,
            linkParentIndices=list(range(joints)), linkJointTypes=[pb.JOINT_REVOLUTE] * joints,
            linkJointAxis=[[0.0, 0.0, 1.0]] * joints, **self._options,
        )  # fmt: skip
        for link in range(-1, joints):
            world.set_up(self._body, link, mass * LINK**2 / 12.0, _UPRIGHT)
            if link >= 0:
                pb.changeDynamics(
                    self._body, link, jointLowerLimit=-SHARPEST, jointUpperLimit=SHARPEST, **self._options
                )
        self._joints = list(range(joints))
        # Bullet holds every joint by a motor unless told not to.
        pb.setJointMotorControlArray(
            self._body, self._joints, pb.VELOCITY_CONTROL, forces=[0.0] * joints, **self._options
        )

    def place(self, configuration: Array) -> None:
        """Puts the rope there, at rest."""
        x, y, angle = configuration[:3].tolist()
        middle = [x + LINK / 2.0 * math.cos(angle), y + LINK / 2.0 * math.sin(angle), 0.0]
        turn = [0.0, 0.0, math.sin(angle / 2.0), math.cos(angle / 2.0)]
        self._pb.resetBasePositionAndOrientation(self._body, middle, turn, **self._options)
        self._set_joints(configuration[3:].tolist())

    def rest(self) -> None:
        """Sets all velocities to zero."""
        self._pb.resetBaseVelocity(self._body, [0.0, 0.0, 0.0], [0.0, 0.0, 0.0], **self._options)
        self._set_joints([joint[0] for joint in self._pb.getJointStates(self._body, self._joints, **self._options)])

    def read(self) -> Array:
        """Configuration now."""
        middle, quat = self._pb.getBasePositionAndOrientation(self._body, **self._options)
        angle = 2.0 * math.atan2(quat[2], quat[3])
        joints = [joint[0] for joint in self._pb.getJointStates(self._body, self._joints, **self._options)]
        x, y = middle[0] - LINK / 2.0 * math.cos(angle), middle[1] - LINK / 2.0 * math.sin(angle)
        return np.array([x, y, angle, *joints])

    def apart(self) -> None:
        """Away from the plane."""
        self._pb.resetBasePositionAndOrientation(self._body, [0.0, 0.0, 10.0], _LEVEL, **self._options)

    def _set_joints(self, angles: list[float]) -> None:
        rest = [[0.0]] * len(angles)
        self._pb.resetJointStatesMultiDof(self._body, self._joints, [[a] for a in angles], rest, **self._options)


class RopeTask(PlanarTask):
    """Ten keypoints: the joints and the ends. See ``sim.tasks.planar`` for state and input."""

    def __init__(self) -> None:
        names = tuple(f"rope_{k}" for k in range(KEYPOINTS))
        super().__init__(planar_spec("rope", names, LINK * (KEYPOINTS - 1)))

    def _build(self, world: PushedWorld) -> RopeBody:
        return RopeBody(world)

    def _configuration(self, points: Array) -> Array:
        along = np.diff(points, axis=0)
        angles = np.arctan2(along[:, 1], along[:, 0])
        joints = (np.diff(angles) + np.pi) % (2.0 * np.pi) - np.pi
        return np.concatenate([points[0], angles[:1], np.clip(joints, -SHARPEST, SHARPEST)])

    def points(self, configuration: Array) -> Array:
        """Keypoints (10, 2) in the world, m."""
        angles = np.cumsum(configuration[2:])
        links = LINK * np.stack([np.cos(angles), np.sin(angles)], axis=1)
        return np.vstack([configuration[:2], configuration[:2] + np.cumsum(links, axis=0)])

    def outlines(self, points: Array) -> list[Array]:
        """The line through the keypoints."""
        return [points]

    def _draw(self, rng: np.random.Generator) -> tuple[Array, Array]:
        while True:
            joints = rng.uniform(-_JITTER, _JITTER, KEYPOINTS - 2)
            heading, bend = rng.uniform(-np.pi, np.pi), rng.uniform(-_BEND[0], _BEND[0])
            configuration = self._arc(rng.uniform(-0.1, 0.1, 2), heading, bend, joints)
            points = self.points(configuration)
            away, side = RADIUS + PUSHER_RADIUS + rng.uniform(*_GAP), rng.uniform(-np.pi, np.pi)
            pusher = points[rng.integers(KEYPOINTS)] + away * np.array([np.cos(side), np.sin(side)])
            inside = np.abs(points).max() < HALF - 0.03 and np.abs(pusher).max() < HALF
            if inside and _distance(pusher, points) > RADIUS + PUSHER_RADIUS + 0.5 * _GAP[0]:
                return pusher, configuration

    def goal(self, seed: int) -> Goal:
        """All keypoints on an arc whose middle is up to 10 cm, and whose heading up to 0.8 rad, from the start's."""
        start = self.points(self._draw(np.random.default_rng((seed, 0)))[1])
        heading = math.atan2(*(start[-1] - start[0])[::-1])
        rng = np.random.default_rng((seed, 1))
        points = np.full((KEYPOINTS, 2), np.inf)
        while np.abs(points).max() > HALF - 0.03:
            middle = start.mean(axis=0) + rng.uniform(-0.1, 0.1, 2)
            turn, bend = rng.uniform(-0.8, 0.8), rng.uniform(-_BEND[1], _BEND[1])
            points = self.points(self._arc(middle, heading + turn, bend, np.zeros(KEYPOINTS - 2)))
        target = points.ravel()
        return self.spec.check_goal(Goal(target, np.full(target.shape, _REACHED), np.zeros(target.shape)))

    def _arc(self, middle: Array, heading: float, bend: float, jitter: Array) -> Array:
        """Configuration of an arc about its mean point; heading is that of its middle."""
        joints = bend / (KEYPOINTS - 2) + jitter
        shape = np.concatenate([[0.0, 0.0, heading - joints.sum() / 2.0], joints])
        shape[:2] = middle - self.points(shape).mean(axis=0)
        return shape


def _distance(point: Array, line: Array) -> float:
    """From a point (2,) to a broken line (M, 2)."""
    start, along = line[:-1], np.diff(line, axis=0)
    share = np.clip(np.sum((point - start) * along, axis=1) / np.sum(along**2, axis=1), 0.0, 1.0)
    return float(np.linalg.norm(start + share[:, None] * along - point, axis=1).min())

"""Quasi-static pushing on a plane, solved by Bullet: a cylinder of given velocity and what it pushes.

Motion has no inertia: whatever is not pushed rests at once, as things pushed slowly over a rough table do. Bullet's
contact solver, started from rest in every physics step, finds the motion with the least weighted squared velocity
that is not blocked,

    minimise  sum_i m (|v_i|^2 + c_i^2 omega_i^2)  such that contacts do not close, within Coulomb's cone,

and that is quasi-static pushing over a support whose friction wrench and twist are tied by an ellipsoid with the
half-axis ratio c (Howe, Cutkosky, "Practical force-motion models for sliding manipulation", IJRR 1996). With one
object neither its mass nor the friction of the support matters; with several, the support resists in proportion to
velocity. Gravity is off, and large moments about the horizontal axes keep everything in the plane z = 0.

Frames: world x to the right, y up in pictures, z out of the table. SI, radians.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from control_stack.types import Array
from sim.bullet import import_pybullet
from sim.tasks.shapes import Shape

STEPS = 24  # physics steps in a control step: the pusher moves up to 1.8 mm in one
HEIGHT = 0.05  # m, of everything; contacts lie in the plane anyway
PUSHER_RADIUS = 0.01  # m
FRICTION = 0.3  # between any two bodies: steel or plastic on plastic, dry, lies between 0.2 and 0.4
_PUSHER_MASS = 1e6  # kg: against objects of 1 kg its velocity is as given to 1e-6
_UPRIGHT = 1e6  # kg m^2 about x and y: no tilting
_ITERATIONS = 100  # of the contact solver; its default of 50 leaves 1e-4 of the velocity in rows of discs
_BREAKING = 0.002  # m beyond which Bullet forgets a contact; its 0.02 is half of an object here
_PUSH_OUT = 0.9  # share of a penetration that a physics step takes back; without inertia nothing bounces of it
_LEVEL = [0.0, 0.0, 0.0, 1.0]


class Bodies(Protocol):
    """What is pushed; ``configuration`` is whatever array describes where it is."""

    def place(self, configuration: Array) -> None:
        """Puts the bodies there, at rest."""

    def rest(self) -> None:
        """Sets all velocities to zero."""

    def read(self) -> Array:
        """Configuration now."""

    def apart(self) -> None:
        """Moves the bodies away from each other and from the plane, so that Bullet forgets their contacts."""


class PushedWorld:
    """A Bullet client of its own with a pusher; bodies are added by ``RigidBodies`` and ``RopeBody``.

    Args:
        dt: Control step, s.
    """

    def __init__(self, dt: float):
        self.pb: Any = import_pybullet("the tasks piecewise and cartpole need none")
        self.options = {"physicsClientId": self.pb.connect(self.pb.DIRECT)}
        self._dt = dt
        self._open = True
        self.pb.setTimeStep(dt / STEPS, **self.options)
        self.pb.setGravity(0.0, 0.0, 0.0, **self.options)
        self.pb.setPhysicsEngineParameter(
            numSolverIterations=_ITERATIONS, numSubSteps=0, deterministicOverlappingPairs=1,
            contactBreakingThreshold=_BREAKING, contactERP=_PUSH_OUT, warmStartingFactor=0.0, **self.options,
        )  # fmt: skip
        cylinder = self.pb.createCollisionShape(
            self.pb.GEOM_CYLINDER, radius=PUSHER_RADIUS, height=HEIGHT, **self.options
        )
        self._pusher = self.pb.createMultiBody(_PUSHER_MASS, cylinder, **self.options)
        self.set_up(self._pusher, -1, _UPRIGHT)

    def set_up(self, body: int, link: int, inertia: float, upright: float = _UPRIGHT) -> None:
        """Friction, no damping, no bounce, and a moment of inertia about z, kg m^2."""
        self.pb.changeDynamics(
            body, link, localInertiaDiagonal=[upright, upright, inertia], restitution=0.0, linearDamping=0.0,
            angularDamping=0.0, jointDamping=0.0,
            lateralFriction=math.sqrt(FRICTION),  # Bullet multiplies the two coefficients
            **self.options,
        )  # fmt: skip

    def advance(self, bodies: Bodies, configuration: Array, pusher: Array, velocity: Array) -> tuple[Array, bool]:
        """One control step from rest.

        Args:
            bodies: What is pushed.
            configuration: Where it is.
            pusher: (2,) where the pusher is, m.
            velocity: (2,) of the pusher, m/s.

        Returns:
            Configuration afterwards, and whether the pusher touched anything.
        """
        pb, options, mover = self.pb, self.options, self._pusher
        # Contacts that Bullet remembers would make the step depend on what was before.
        bodies.apart()
        pb.resetBasePositionAndOrientation(mover, [*pusher.tolist(), -10.0], _LEVEL, **options)
        pb.performCollisionDetection(**options)
        bodies.place(configuration)
        pb.resetBasePositionAndOrientation(mover, [*pusher.tolist(), 0.0], _LEVEL, **options)
        push, touched = [*velocity.tolist(), 0.0], False
        for _ in range(STEPS):
            bodies.rest()
            pb.resetBaseVelocity(mover, push, [0.0, 0.0, 0.0], **options)
            pb.stepSimulation(**options)
            touched = touched or any(point[9] > 0.0 for point in pb.getContactPoints(mover, **options))
        return bodies.read(), touched

    def close(self) -> None:
        """Ends the client."""
        if self._open:
            self.pb.disconnect(**self.options)
            self._open = False


class RigidBodies:
    """Shapes of 1 kg each; the configuration is (N, 3) of x, y in m and angle in rad."""

    def __init__(self, world: PushedWorld, shapes: Sequence[Shape]):
        self._pb, self._options = world.pb, world.options
        self._bodies = [self._pb.createMultiBody(1.0, self._collision(shape), **self._options) for shape in shapes]
        for body, shape in zip(self._bodies, shapes, strict=True):
            world.set_up(body, -1, shape.friction_length**2)

    def _collision(self, shape: Shape) -> int:
        pb = self._pb
        if shape.radius:
            return pb.createCollisionShape(pb.GEOM_CYLINDER, radius=shape.radius, height=HEIGHT, **self._options)
        return pb.createCollisionShapeArray(
            shapeTypes=[pb.GEOM_BOX] * len(shape.rectangles),
            halfExtents=[[a, b, HEIGHT / 2.0] for _, _, a, b in shape.rectangles],
            collisionFramePositions=[[x, y, 0.0] for x, y, _, _ in shape.rectangles],
            **self._options,
        )

    def place(self, configuration: Array) -> None:
        """Puts the bodies there; ``rest`` follows in every physics step."""
        for body, (x, y, angle) in zip(self._bodies, configuration.tolist(), strict=True):
            turn = [0.0, 0.0, math.sin(angle / 2.0), math.cos(angle / 2.0)]
            self._pb.resetBasePositionAndOrientation(body, [x, y, 0.0], turn, **self._options)

    def rest(self) -> None:
        """Sets all velocities to zero."""
        for body in self._bodies:
            self._pb.resetBaseVelocity(body, [0.0, 0.0, 0.0], [0.0, 0.0, 0.0], **self._options)

    def read(self) -> Array:
        """Poses now."""
        poses = []
        for body in self._bodies:
            position, quat = self._pb.getBasePositionAndOrientation(body, **self._options)
            poses.append((position[0], position[1], 2.0 * math.atan2(quat[2], quat[3])))
        return np.array(poses)

    def apart(self) -> None:
        """One above the other, far from each other."""
        for k, body in enumerate(self._bodies):
            self._pb.resetBasePositionAndOrientation(body, [0.0, 0.0, 10.0 * (k + 1)], _LEVEL, **self._options)

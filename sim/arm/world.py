"""An arm in a Bullet client of its own: what Bullet needs to be told so that it computes the URDF's dynamics."""

from __future__ import annotations

import math
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from control_stack.arm.load import NO_LOAD, Load
from control_stack.arm.parameters import ArmParameters
from control_stack.arm.urdf import arm_urdf
from control_stack.quadrotor.parameters import GRAVITY
from control_stack.types import Array
from sim.bullet import import_pybullet, quiet

_WHITE = (1.0, 1.0, 1.0)


class ArmWorld:
    """One arm, fixed to the ground, that torques move; there is nothing else to touch.

    A load is part of the last link: the URDF is written anew with the composite inertia and the joints go on
    from where they were. It is exactly rigid; a constraint between two bodies would be a stiff spring.

    Args:
        arm: Its parameters.
        dt: Physics step, s.
    """

    def __init__(self, arm: ArmParameters, dt: float):
        self.pb: Any = import_pybullet("the nominal model needs none")
        self.options = {"physicsClientId": self.pb.connect(self.pb.DIRECT)}
        self._arm, self._joints = arm, list(range(arm.joints))
        self.pb.setTimeStep(dt, **self.options)
        self.pb.setGravity(0.0, 0.0, -GRAVITY, **self.options)
        self.body: int | None = None
        self.set_load(NO_LOAD)

    def set_load(self, load: Load) -> None:
        """Replaces what the flange holds; positions and velocities of the joints stay."""
        pb, options = self.pb, self.options
        state = None if self.body is None else self.read()
        if self.body is not None:
            pb.removeBody(self.body, **options)
        with tempfile.TemporaryDirectory() as folder, quiet():
            file = Path(folder) / "arm.urdf"
            file.write_text(arm_urdf(self._arm, load), encoding="utf-8")
            # Without the flag Bullet would make up inertias from the collision shapes.
            self.body = pb.loadURDF(str(file), useFixedBase=True, flags=pb.URDF_USE_INERTIA_FROM_FILE, **options)
        for link in range(-1, pb.getNumJoints(self.body, **options)):
            # Bullet damps every body (0.04 1/s) and joint by default.
            pb.changeDynamics(
                self.body, link, linearDamping=0.0, angularDamping=0.0, jointDamping=0.0, **options
            )  # fmt: skip
        # The motors that hold every joint of a loaded URDF still.
        none = [0.0] * len(self._joints)
        pb.setJointMotorControlArray(self.body, self._joints, pb.VELOCITY_CONTROL, forces=none, **options)
        if state is not None:
            self.place(*state)

    def place(self, position: Array, velocity: Array) -> None:
        """Puts the joints at positions (n,), rad, with velocities (n,), rad/s."""
        for joint, q, qd in zip(self._joints, position.tolist(), velocity.tolist(), strict=True):
            self.pb.resetJointState(self.body, joint, q, qd, **self.options)

    def read(self) -> tuple[Array, Array]:
        """Positions (n,), rad, and velocities (n,), rad/s."""
        states = self.pb.getJointStates(self.body, self._joints, **self.options)
        return np.array([s[0] for s in states]), np.array([s[1] for s in states])

    def advance(self, torque: list[float]) -> None:
        """One physics step under torques on the joints, N m."""
        pb = self.pb
        pb.setJointMotorControlArray(self.body, self._joints, pb.TORQUE_CONTROL, forces=torque, **self.options)
        pb.stepSimulation(**self.options)

    def picture(self, size: tuple[int, int] = (480, 420)) -> Array:
        """(height, width, 3) of uint8: the arm as it stands, from its right and from the front, in full."""
        pb, (width, height) = self.pb, size
        boxes = [pb.getAABB(self.body, link, **self.options) for link in (-1, *self._joints, len(self._joints))]
        low, high = np.min([box[0] for box in boxes], axis=0), np.max([box[1] for box in boxes], axis=0)
        middle, field = 0.5 * (low + high), 36.0  # degrees, up and down
        distance = 0.5 * float(np.linalg.norm(high - low)) / math.sin(math.radians(field / 2.0))
        direction = np.array([0.5, -0.8, 0.33])  # of unit length within 1 %
        view = pb.computeViewMatrix((middle + distance * direction).tolist(), middle.tolist(), (0.0, 0.0, 1.0))
        projection = pb.computeProjectionMatrixFOV(field, width / height, 0.1 * distance, 3.0 * distance)
        image = pb.getCameraImage(
            width, height, view, projection, lightDirection=(1.0, -1.0, 2.0), lightColor=_WHITE,
            shadow=False, renderer=pb.ER_TINY_RENDERER, **self.options,
        )  # fmt: skip
        return np.reshape(image[2], (height, width, 4))[..., :3].astype(np.uint8)

    def close(self) -> None:
        """Ends the client."""
        self.pb.disconnect(**self.options)

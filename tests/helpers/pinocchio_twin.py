"""An arm in pinocchio, from the URDF that this stack writes: the independent computation that tests compare with."""

from __future__ import annotations

import numpy as np
import pinocchio as pin

from control_stack.arm.load import Load
from control_stack.arm.parameters import ArmParameters
from control_stack.arm.urdf import arm_urdf
from control_stack.quadrotor.parameters import GRAVITY


class Twin:
    """The URDF without a load; a load is appended to pinocchio's own model at the flange."""

    def __init__(self, urdf: str, load: Load | None = None):
        self.model = pin.buildModelFromXML(urdf)
        self.model.gravity.linear = np.array([0.0, 0.0, -GRAVITY])
        self.flange = self.model.getFrameId("flange")
        if load is not None:
            frame = self.model.frames[self.flange]
            inertia = pin.Inertia(load.mass, load.centre, load.inertia)
            self.model.appendBodyToJoint(frame.parentJoint, inertia, frame.placement)
        self.data = self.model.createData()

    @classmethod
    def of(cls, arm: ArmParameters, load: Load | None = None) -> Twin:
        return cls(arm_urdf(arm), load)

    def inverse(self, q, qd, qdd):
        return pin.rnea(self.model, self.data, q, qd, qdd).copy()

    def mass_matrix(self, q):
        upper = np.triu(pin.crba(self.model, self.data, q))
        return upper + np.triu(upper, 1).T

    def pose(self, q):
        pin.framesForwardKinematics(self.model, self.data, q)
        placed = self.data.oMf[self.flange]
        return placed.translation.copy(), placed.rotation.copy()

    def jacobian(self, q):
        return pin.computeFrameJacobian(self.model, self.data, q, self.flange, pin.LOCAL_WORLD_ALIGNED).copy()

"""The nominal arm with everything that estimators may find out about it as parameters.

M(q, load) q'' + c + g + f(q') = tau + d + J(q)^T F        p = (load 10, d n, F 3)
"""

from __future__ import annotations

import numpy as np

from control_stack.arm import rigid_body
from control_stack.arm.chain import INERTIA_SIZE
from control_stack.arm.dynamics import ArmDynamics
from control_stack.arm.load import LOAD_NAMES, NO_LOAD, Load
from control_stack.arm.parameters import ArmParameters
from control_stack.protocols import DynamicsSpec
from control_stack.quadrotor.symbolic import import_casadi
from control_stack.types import Array
from controllers.arm.step import InverseStep

LOAD = slice(0, INERTIA_SIZE)
MASS_AND_MOMENT = slice(0, 4)


def disturbance(joints: int) -> slice:
    """Where p holds torques (n,) that nobody sent, N m."""
    return slice(INERTIA_SIZE, INERTIA_SIZE + joints)


def flange_force(joints: int) -> slice:
    """Where p holds a force (3,) on the flange, N, in the base frame."""
    return slice(INERTIA_SIZE + joints, INERTIA_SIZE + joints + 3)


def nominal_step(arm: ArmParameters, dt: float, load: Load = NO_LOAD) -> InverseStep:
    """The arm of the file with parameters for load, disturbing torques and flange force, all 0 but the load given.

    Args:
        arm: Its parameters. dt: Step, s. load: Default of p: what the arm carries by default.
    """
    ca, n, model = import_casadi(), arm.joints, ArmDynamics(arm, dt)
    size = INERTIA_SIZE + n + 3
    q, v, a, p = (ca.SX.sym(name, k) for name, k in (("q", n), ("qd", n), ("qdd", n), ("p", size)))
    columns = [tuple(s[i] for i in range(s.shape[0])) for s in (q, v, a, p)]
    tau = ca.vertcat(*model.inverse_columns(columns[0], columns[1], columns[2], columns[3][LOAD]))
    rows = rigid_body.flange_jacobian(arm.chain, columns[0])[:3]
    pushed = ca.vertcat(*(ca.horzcat(*row) for row in rows)).T
    tau = tau - p[disturbance(n)] - ca.mtimes(pushed, p[flange_force(n)])
    inverse = ca.Function("arm_inverse", [q, v, a, p], [tau], ["q", "qd", "qdd", "p"], ["tau"])
    names = (*LOAD_NAMES, *(f"{name}.disturbance [N m]" for name in arm.joint_names))
    names = (*names, *(f"flange_force.{axis} [N]" for axis in "xyz"))
    return InverseStep(inverse, DynamicsSpec(model.spec.state, model.spec.inputs, names, defaults(arm, load), dt))


def defaults(arm: ArmParameters, load: Load) -> Array:
    """p of ``nominal_step`` for a load."""
    return np.concatenate([load.parameters, np.zeros(arm.joints + 3)])

"""CasADi twins of the arm's model, virtual-machine functions of columns; the load p is an input of each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from control_stack.arm import rigid_body
from control_stack.arm.chain import INERTIA_SIZE
from control_stack.quadrotor.symbolic import import_casadi

if TYPE_CHECKING:
    from control_stack.arm.dynamics import ArmDynamics


def _columns(symbol: Any) -> tuple[Any, ...]:
    return tuple(symbol[i] for i in range(symbol.shape[0]))


def inverse_function(model: ArmDynamics) -> Any:
    """tau(q, qd, qdd, p), N m, friction included."""
    ca, n = import_casadi(), model.arm.joints
    q, qd, qdd, p = (ca.SX.sym(name, k) for name, k in (("q", n), ("qd", n), ("qdd", n), ("p", INERTIA_SIZE)))
    tau = model.inverse_columns(*map(_columns, (q, qd, qdd, p)))
    return ca.Function("arm_inverse", [q, qd, qdd, p], [ca.vertcat(*tau)], ["q", "qd", "qdd", "p"], ["tau"])


def forward_function(model: ArmDynamics) -> Any:
    """qdd(q, qd, tau, p), rad/s^2."""
    ca, n = import_casadi(), model.arm.joints
    q, qd, tau, p = (ca.SX.sym(name, k) for name, k in (("q", n), ("qd", n), ("tau", n), ("p", INERTIA_SIZE)))
    qdd = model.forward_columns(*map(_columns, (q, qd, tau, p)))
    return ca.Function("arm_forward", [q, qd, tau, p], [ca.vertcat(*qdd)], ["q", "qd", "tau", "p"], ["qdd"])


def mass_matrix_function(model: ArmDynamics) -> Any:
    """M(q, p), (n, n), kg m^2."""
    ca = import_casadi()
    q, p = ca.SX.sym("q", model.arm.joints), ca.SX.sym("p", INERTIA_SIZE)
    rows = rigid_body.mass_matrix(model.arm.chain, _columns(q), _columns(p))
    matrix = ca.vertcat(*(ca.horzcat(*row) for row in rows))
    return ca.Function("arm_mass_matrix", [q, p], [matrix], ["q", "p"], ["M"])


def flange_function(model: ArmDynamics) -> Any:
    """position(q) (3), m, and rotation(q) (3, 3) of the flange in the base frame."""
    ca = import_casadi()
    q = ca.SX.sym("q", model.arm.joints)
    position, axes = rigid_body.joint_poses(model.arm.chain, _columns(q))[-1]
    rotation = ca.horzcat(*(ca.vertcat(*axis) for axis in axes))
    return ca.Function("arm_flange", [q], [ca.vertcat(*position), rotation], ["q"], ["position", "rotation"])


def step_function(model: ArmDynamics) -> Any:
    """x+(x, u, p) after model.dt seconds, the acceleration called as a function: the graph stays small."""
    ca, n = import_casadi(), model.arm.joints
    forward = forward_function(model)
    x, u, p = ca.MX.sym("x", 2 * n), ca.MX.sym("u", n), ca.MX.sym("p", INERTIA_SIZE)

    def acceleration(q: Any, qd: Any, tau: Any, load: Any) -> tuple[Any, ...]:
        return _columns(forward(*(ca.vertcat(*part) for part in (q, qd, tau, load))))

    y = model.step_columns(_columns(x), _columns(u), _columns(p), acceleration)
    return ca.Function("arm_step", [x, u, p], [ca.vertcat(*y)], ["x", "u", "p"], ["x_next"])

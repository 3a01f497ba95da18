"""The CasADi twin of the quadrotor model: one step of the plant.

It is compiled once as a virtual-machine function (no compiler needed). The airframe is an input, so
payloads, rotor loss and wind change numbers, never the function.
"""

from __future__ import annotations

from typing import Any

from control_stack.errors import MissingDependency
from control_stack.quadrotor.dynamics import DISTURBANCE_SIZE, INPUT_SIZE, STATE_SIZE, rk4_step
from control_stack.quadrotor.parameters import AIRFRAME_SIZE, airframe_from_columns


def import_casadi() -> Any:
    """The casadi module; raises MissingDependency where it is not installed."""
    try:
        import casadi
    except ImportError:
        raise MissingDependency("casadi", "sim") from None
    return casadi


def _columns(symbol: Any) -> tuple[Any, ...]:
    return tuple(symbol[i] for i in range(symbol.shape[0]))


def step_function(dt: float) -> Any:
    """casadi.Function f(x[17], u[4], disturbance[9], airframe[51]) -> x+[17], one RK4 step of dt seconds."""
    ca = import_casadi()
    x, u = ca.SX.sym("x", STATE_SIZE), ca.SX.sym("u", INPUT_SIZE)
    d, p = ca.SX.sym("disturbance", DISTURBANCE_SIZE), ca.SX.sym("airframe", AIRFRAME_SIZE)
    y = rk4_step(_columns(x), _columns(u), airframe_from_columns(p), dt, _columns(d))
    return ca.Function("quadrotor_step", [x, u, d, p], [ca.vertcat(*y)], ["x", "u", "d", "p"], ["x_next"])

"""A closed loop of inner laws and plant as one CasADi function: flights for tests that must not lean on ``sim``."""

from __future__ import annotations

from typing import Any

from control_stack.laws.cascade import InnerLoops
from control_stack.quadrotor.contact import ground_contact
from control_stack.quadrotor.dynamics import DISTURBANCE_SIZE, STATE_SIZE, rk4_step
from control_stack.quadrotor.parameters import AIRFRAME_SIZE, airframe_from_columns
from control_stack.quadrotor.symbolic import import_casadi
from control_stack.ros_layout import COMMAND_SIZE
from control_stack.types import CommandLevel


def _columns(symbol: Any) -> tuple[Any, ...]:
    return tuple(symbol[i] for i in range(symbol.shape[0]))


def closed_loop_function(loops: InnerLoops, level: CommandLevel, leg_height: float, dt: float) -> Any:
    """casadi.Function f(x[17], command, disturbance[9], airframe[51]) -> (x+[17], rotor command[4]).

    One physics step on flat ground with the inner loops of ``level`` evaluated at its start.
    """
    ca = import_casadi()
    x, c = ca.SX.sym("x", STATE_SIZE), ca.SX.sym("command", COMMAND_SIZE[level])
    d, p = ca.SX.sym("disturbance", DISTURBANCE_SIZE), ca.SX.sym("airframe", AIRFRAME_SIZE)
    airframe = airframe_from_columns(p)
    columns = _columns(x)
    u = loops.rotor_command(level, _columns(c), columns)
    y = rk4_step(columns, u, airframe, dt, _columns(d), lambda s: ground_contact(s, airframe, leg_height))
    return ca.Function(f"quadrotor_{level.value}", [x, c, d, p], [ca.vertcat(*y), ca.vertcat(*u)])

"""The analytic simulator: the core's equations of motion, RK4 at physics rate, compiled by CasADi."""

from __future__ import annotations

from typing import Any

import numpy as np

from control_stack.algebra import cross, rotate, subtract
from control_stack.laws.cascade import InnerLoops
from control_stack.quadrotor.contact import ground_contact
from control_stack.quadrotor.dynamics import DISTURBANCE_SIZE, INPUT_SIZE, STATE_SIZE, rk4_step
from control_stack.quadrotor.parameters import AIRFRAME_SIZE, airframe_from_columns
from control_stack.quadrotor.symbolic import import_casadi, step_function
from control_stack.ros_layout import COMMAND_SIZE
from control_stack.types import Array, CommandLevel
from sim.quadrotor import LEVELS, SimulatedQuadrotor


def _components(symbol: Any) -> tuple[Any, ...]:
    return tuple(symbol[i] for i in range(symbol.shape[0]))


def loops_function(loops: InnerLoops, level: CommandLevel) -> Any:
    """casadi.Function f(x[17], command, offset[3]) -> rotor command[4], rad/s.

    x is of the composite centre of mass, which lies ``offset`` (m, body) from the point the loops control.
    """
    ca = import_casadi()
    x, c, offset = (
        ca.SX.sym("x", STATE_SIZE),
        ca.SX.sym("command", COMMAND_SIZE[level]),
        ca.SX.sym("offset", 3),
    )
    at, r = _components(x), _components(offset)
    position = subtract(at[0:3], rotate(at[6:10], r))  # type: ignore[arg-type]
    velocity = subtract(at[3:6], rotate(at[6:10], cross(at[10:13], r)))  # type: ignore[arg-type]
    u = loops.rotor_command(level, _components(c), (*position, *velocity, *at[6:]))
    return ca.Function(f"loops_{level.value}", [x, c, offset], [ca.cse(ca.vertcat(*u))])


def ground_step_function(dt: float) -> Any:
    """As ``step_function`` on flat ground, with one more input: leg height below the centre of mass, m."""
    ca = import_casadi()
    x, u, leg = ca.SX.sym("x", STATE_SIZE), ca.SX.sym("u", INPUT_SIZE), ca.SX.sym("leg_height")
    d, p = ca.SX.sym("disturbance", DISTURBANCE_SIZE), ca.SX.sym("airframe", AIRFRAME_SIZE)
    airframe = airframe_from_columns(p)
    y = rk4_step(
        _components(x),
        _components(u),
        airframe,
        dt,
        _components(d),
        lambda s: ground_contact(s, airframe, leg),
    )
    return ca.Function("quadrotor_ground_step", [x, u, d, p, leg], [ca.cse(ca.vertcat(*y))])


class AnalyticQuadrotor(SimulatedQuadrotor):
    """Rigid body, rotors and ground contact of ``control_stack.quadrotor``. Needs CasADi, no compiler."""

    def _open(self) -> None:
        self._state, self._next = np.zeros(STATE_SIZE), np.zeros(STATE_SIZE)
        self._rotors, self._disturbed = np.zeros(INPUT_SIZE), np.zeros(DISTURBANCE_SIZE)
        self._airframe, self._shift, self._leg = np.zeros(AIRFRAME_SIZE), np.zeros(3), np.zeros(1)
        plant = (self._state, self._rotors, self._disturbed, self._airframe)
        # FunctionBuffers read and write these arrays in place: a call converts and allocates nothing.
        self._buffers: list[Any] = []
        self._fly = self._bind(step_function(self.physics_dt), plant, self._next)
        self._touch = self._bind(ground_step_function(self.physics_dt), (*plant, self._leg), self._next)
        self._inputs = {level: np.zeros(COMMAND_SIZE[level]) for level in LEVELS}
        self._loops = {
            level: self._bind(
                loops_function(self.loops, level),
                (self._state, self._inputs[level], self._shift),
                self._rotors,
            )
            for level in LEVELS
        }

    def _bind(self, function: Any, inputs: tuple[Array, ...], output: Array) -> Any:
        buffer, trigger = function.buffer()
        for i, array in enumerate(inputs):
            buffer.set_arg(i, array.data)
        buffer.set_res(0, output.data)
        self._buffers.append((function, buffer))  # the trigger does not keep them alive
        return trigger

    def _shut(self) -> None:
        del self._fly, self._touch, self._loops, self._buffers

    def _place(self) -> None:
        self._airframe[:] = self._flown.flatten()
        self._shift[:] = self._offset
        # Feet stay where they are on the body while the centre of mass moves by the offset.
        self._leg[0] = self.leg_height + self._offset[2]
        arms = np.asarray(self._flown.rotor_position)[:, :2]
        # No foot reaches lower than this below the centre of mass, whatever the attitude.
        self._reach = float(np.sqrt((arms**2).sum(axis=1).max() + self._leg[0] ** 2))

    def _advance(self, wind_w: Array) -> Array:
        x, y, dt = self._state, self._next, self.physics_dt
        x[:] = self._x
        self._disturbed[3:9] = self._disturbance
        loops = None
        if self._level is None:
            self._rotors[:] = 0.0
        else:
            self._inputs[self._level][:] = self._command
            loops = self._loops[self._level]
        path = np.empty((len(wind_w), STATE_SIZE))
        for k, wind in enumerate(wind_w):
            self._disturbed[0:3] = wind
            if loops is not None:
                loops()
            # Contact costs four times what flight does, and is exactly zero while no foot reaches the ground.
            if x[2] > self._reach + 0.01 + 2.0 * dt * abs(x[5]):
                self._fly()
            else:
                self._touch()
            x[:] = path[k] = y
        return path

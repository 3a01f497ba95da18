"""What the emulated autopilot flies by itself: take-off, hold, return and landing, as moving position setpoints."""

from __future__ import annotations

import numpy as np

from control_stack.algebra import yaw_of
from control_stack.px4 import modes
from control_stack.px4.modes import Mode
from control_stack.types import Array, Command, PositionCommand
from sim.emulators.px4.table import ParameterTable
from sim.quadrotor import SimulatedQuadrotor


class Guidance:
    """Moves a target at the speeds that the parameters set. ``home``: where it stood at the start, m."""

    def __init__(self, quad: SimulatedQuadrotor, parameters: ParameterTable):
        self._quad, self._parameters = quad, parameters
        self.home = quad.true_state().position_w.copy()
        self._goal = self._target = self.home.copy()
        self.enter(modes.LOITER)

    def enter(self, mode: Mode) -> None:
        """Starts a mode from where the vehicle is, or from the goal of the mode before if it has got there."""
        truth, p = self._quad.true_state(), self._parameters
        self._target = self._goal.copy() if self.arrived else truth.position_w.copy()
        self._yaw = float(yaw_of(tuple(truth.quat_xyzw.tolist())))  # type: ignore[arg-type]
        self._goal, self._speed = self._target.copy(), float(p["MPC_XY_CRUISE"])
        if mode == modes.TAKEOFF:
            self._goal[2], self._speed = self.home[2] + p["MIS_TAKEOFF_ALT"], p["MPC_TKO_SPEED"]
        elif mode == modes.LAND:
            # Below the ground, so that contact is sure.
            self._goal[2], self._speed = self.home[2] - 1.0, p["MPC_LAND_SPEED"]
        elif mode == modes.RTL:
            self._goal[:2] = self.home[:2]
        self._speed = min(self._speed, self._quad.parameters.limits.speed)

    def go_to(self, position_w: Array, yaw: float | None) -> None:
        """A new goal of hold, m; NaN components stay as they are. yaw: rad."""
        self._goal = np.where(np.isfinite(position_w), position_w, self._target)
        self._yaw = self._yaw if yaw is None else yaw

    @property
    def arrived(self) -> bool:
        """Target at the goal, vehicle near it."""
        away = np.linalg.norm(self._quad.true_state().position_w - self._goal)
        return bool(np.array_equal(self._target, self._goal) and away < 0.3)

    def command(self, dt: float) -> Command:
        """The setpoint dt s later."""
        way = self._goal - self._target
        distance, step = float(np.linalg.norm(way)), self._speed * dt
        if distance <= step:
            self._target = self._goal.copy()
            return PositionCommand(self._target.copy(), yaw=self._yaw)
        direction = way / distance
        self._target = self._target + step * direction
        return PositionCommand(self._target.copy(), self._speed * direction, yaw=self._yaw)

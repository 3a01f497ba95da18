"""Every vehicle under one contract: simulators and a scripted fake. A driver joins with a subject here."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import pytest

from control_stack.boundary import check_command, finite, unit_quaternion
from control_stack.errors import InputRejected, NotConnected
from control_stack.laws.limits import limit_command
from control_stack.protocols import Vehicle, VehicleSpec
from control_stack.quadrotor.parameters import QuadrotorParameters, load_vehicle
from control_stack.types import Array, Command, CommandLevel, QuadrotorState, RotorCommand
from sim.config import SimulationConfig
from sim.factory import make_vehicle

PERIOD = 0.01  # s


class ScriptedVehicle:
    """Plays a list of states, one per period, while it is armed and has a command; records what it was sent.

    Attributes:
        sent: Commands that were accepted, as limited, oldest first.
        poses: External poses that were accepted.
    """

    def __init__(self, parameters: QuadrotorParameters, script: list[QuadrotorState], levels: tuple[CommandLevel, ...]):
        self.parameters, self._script = parameters, script
        self.spec = VehicleSpec(parameters.name, levels, 1.0 / PERIOD)
        self.sent: list[Command] = []
        self.poses: list[tuple[Array, Array, float]] = []
        self._connected = self._armed = self._moving = False
        self._periods, self._line = 0, 0

    def connect(self) -> None:
        self._connected = True

    def close(self) -> None:
        self._connected = self._armed = self._moving = False

    def arm(self) -> None:
        self._check_connection()
        self._armed = True

    def disarm(self) -> None:
        self._check_connection()
        self._armed = self._moving = False

    def state(self) -> QuadrotorState:
        self._check_connection()
        return replace(self._script[self._line], stamp=self._periods * PERIOD)

    def send(self, command: Command) -> Command:
        self._check_connection()
        if command.level not in self.spec.levels:
            raise InputRejected("level", str(command.level))
        check_command(command)
        quat = getattr(command, "quat_xyzw", None)
        if quat is not None:
            unit_quaternion(quat, tolerance=1e-3)
        if not self._armed:
            return RotorCommand(np.zeros(4), stamp=command.stamp)
        self._moving = True
        self.sent.append(limit_command(command, self.parameters))
        return self.sent[-1]

    def external_pose(self, position_w: Array, quat_xyzw: Array, stamp: float) -> None:
        self._check_connection()
        position = finite(position_w, "position_w")
        self.poses.append((position, unit_quaternion(quat_xyzw), float(finite(stamp, "stamp"))))

    def play(self, dt: float) -> None:
        """Lets dt seconds pass, a whole number of periods."""
        periods = round(dt / PERIOD)
        self._periods += periods
        if self._moving:
            self._line = min(self._line + periods, len(self._script) - 1)

    def _check_connection(self) -> None:
        if not self._connected:
            raise NotConnected("scripted vehicle is not connected")


def climb_script(seconds: float = 5.0) -> list[QuadrotorState]:
    """Rest, then a vertical climb at 0.5 m/s while turning."""
    script = []
    for t in np.arange(0.0, seconds, PERIOD):
        quat = np.array([0.0, 0.0, np.sin(0.1 * t), np.cos(0.1 * t)])
        velocity = np.array([0.0, 0.0, 0.5 if t > 0.0 else 0.0])
        script.append(QuadrotorState(np.array([0.0, 0.0, 0.5 * t]), velocity, quat, np.array([0.0, 0.0, 0.2])))
    return script


@dataclass
class Subject:
    """A vehicle under test, not yet connected.

    Attributes:
        advance: Lets seconds pass on the vehicle's clock: steps a simulator, waits for hardware.
        in_force: The command in force as ``send`` returned it, None where only the motion shows it.
    """

    vehicle: Vehicle
    parameters: QuadrotorParameters
    advance: Callable[[float], None]
    in_force: Callable[[], Command] | None
    simulated: bool


def _simulated(backend: str) -> Subject:
    parameters = load_vehicle("crazyflie")
    vehicle = make_vehicle(backend, parameters, SimulationConfig(position_w=(0.0, 0.0, 2.0)))

    def advance(seconds: float) -> None:
        for _ in range(round(seconds / PERIOD)):
            vehicle.step(PERIOD)

    return Subject(vehicle, parameters, advance, None, True)


def _scripted() -> Subject:
    parameters = load_vehicle("crazyflie")
    levels = tuple(level for level in CommandLevel if level is not CommandLevel.JOINTS)
    vehicle = ScriptedVehicle(parameters, climb_script(), levels)
    return Subject(vehicle, parameters, vehicle.play, lambda: vehicle.sent[-1], False)


_no_bullet = importlib.util.find_spec("pybullet") is None
SUBJECTS = {
    "analytic": lambda: _simulated("analytic"),
    "bullet": lambda: _simulated("bullet"),
    "scripted": _scripted,
}


@pytest.fixture(
    params=[
        "analytic",
        pytest.param("bullet", marks=pytest.mark.skipif(_no_bullet, reason="pybullet is not installed")),
        "scripted",
    ]
)
def new_subject(request: pytest.FixtureRequest) -> Iterator[Callable[[], Subject]]:
    """Makes subjects of one kind, closed at the end."""
    made: list[Subject] = []

    def build() -> Subject:
        made.append(SUBJECTS[request.param]())
        return made[-1]

    yield build
    for subject in made:
        subject.vehicle.close()


@pytest.fixture
def subject(new_subject: Callable[[], Subject]) -> Subject:
    return new_subject()

"""Every vehicle under one contract: simulators and a scripted fake. A driver joins with a subject here."""

from __future__ import annotations

import importlib.util
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

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
    release: Callable[[], None] = lambda: None  # of what lies beyond the vehicle, once it is closed


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


def _px4() -> Subject:
    """The driver over a real socket to the emulated autopilot, in the emulator's time."""
    from px4_bench import Bench

    bench = Bench()
    bench.emulator.step(1.0)  # its legs settle by micrometres

    return Subject(bench.vehicle, bench.vehicle.parameters, bench.pass_time, None, False, bench.emulator.close)


def _crazyflie_link() -> Subject:
    """The driver over UDP, at an emulated vehicle whose time passes in steps."""
    from emulated_crazyflie import stepped

    # The wire carries less thrust than the vehicle has (60000 of 65536); here the vehicle has less than the wire.
    parameters = replace(load_vehicle("crazyflie"), rotor_speed_max=np.full(4, 2400.0))
    served, vehicle = stepped(Path(tempfile.gettempdir()) / "control_stack_contract_toc", parameters)
    return Subject(vehicle, parameters, vehicle.pass_time, None, False, release=served.close)


_no_bullet = importlib.util.find_spec("pybullet") is None
_no_mavlink = importlib.util.find_spec("pymavlink") is None
_no_cflib = importlib.util.find_spec("cflib") is None
SUBJECTS = {
    "analytic": lambda: _simulated("analytic"),
    "bullet": lambda: _simulated("bullet"),
    "scripted": _scripted,
    "crazyflie_link": _crazyflie_link,
    "px4": _px4,
}


@pytest.fixture(
    params=[
        "analytic",
        pytest.param("bullet", marks=pytest.mark.skipif(_no_bullet, reason="pybullet is not installed")),
        "scripted",
        pytest.param("crazyflie_link", marks=pytest.mark.skipif(_no_cflib, reason="cflib is not installed")),
        pytest.param("px4", marks=pytest.mark.skipif(_no_mavlink, reason="pymavlink is not installed")),
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
        subject.release()


@pytest.fixture
def subject(new_subject: Callable[[], Subject]) -> Subject:
    return new_subject()

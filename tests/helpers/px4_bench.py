"""A PX4 emulator with a driver or a bare client at the other end of real sockets, all in the emulator's time."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from control_stack.px4.codec import Codec
from control_stack.quadrotor.parameters import QuadrotorParameters, load_vehicle
from control_stack.types import Command
from hardware.px4 import PX4Config, PX4Vehicle
from sim.config import SimulationConfig
from sim.emulators.px4 import PX4Emulator, PX4EmulatorOptions

TICK = 0.005


def free_port() -> int:
    """A UDP port that nobody has now."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class EmulatorClock:
    """The emulator's time as the driver's: sleeping steps the emulator, nothing depends on the machine."""

    threaded = False

    def __init__(self, emulator: PX4Emulator):
        self._emulator = emulator
        self._past = 0.0

    def monotonic(self) -> float:
        return self._emulator.quad.time

    def sleep(self, seconds: float) -> None:
        self._emulator.step(max(round(seconds / TICK), 1) * TICK)


class Bench:
    """Emulator and driver.

    Attributes:
        emulator, vehicle: The two ends.
        cut: While True the driver neither hears nor sends (its host hangs).
    """

    def __init__(
        self,
        parameters: QuadrotorParameters | None = None,
        simulation: SimulationConfig | None = None,
        config: PX4Config | None = None,
        signing_key: str | None = None,
    ):
        parameters = parameters or load_vehicle("x500")
        self.port = free_port()
        options = PX4EmulatorOptions(port=self.port, signing_key=signing_key)
        self.emulator = PX4Emulator(parameters, options, simulation)
        clock = EmulatorClock(self.emulator)
        self.vehicle = PX4Vehicle(parameters, f"udpin:127.0.0.1:{self.port}", config, clock)
        self.cut = False

    @property
    def events(self) -> list[str]:
        """Names of what happened to the autopilot, in order."""
        return [name for _, name in self.emulator.autopilot.events]

    def pass_time(self, seconds: float) -> None:
        """Both ends live on; nothing new is commanded."""
        for _ in range(round(seconds / 0.01)):
            self.emulator.step(0.01)
            if not self.cut and self.vehicle._link is not None:
                self.vehicle.state()

    def fly(self, command: Command, seconds: float) -> Command:
        """The same command at 100 Hz."""
        for _ in range(round(seconds / 0.01)):
            sent = self.vehicle.send(command)
            self.pass_time(0.01)
        return sent

    def until(self, done: Callable[[], bool], limit: float) -> bool:
        """Time passes until it is done, at most ``limit`` s; whether it is."""
        for _ in range(round(limit / 0.05)):
            if done():
                return True
            self.pass_time(0.05)
        return done()

    def close(self) -> None:
        self.vehicle.close()
        self.emulator.close()


class Client:
    """A bare MAVLink client on the emulator's offboard port.

    Attributes:
        heard: Messages, oldest first.
    """

    def __init__(self, emulator: PX4Emulator, port: int, system: int = 250, key: str | None = None):
        from pymavlink.dialects.v20 import common

        self.emulator, self.mav = emulator, common
        self.codec = Codec(common, system, 190, True, key)
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", port))
        self._socket.setblocking(False)
        self._to = ("127.0.0.1", emulator.routes[0].port)
        self.heard: list[Any] = []

    def send(self, message: Any) -> None:
        self.send_bytes(self.codec.encode(message))

    def send_bytes(self, data: bytes) -> None:
        self._socket.sendto(data, self._to)

    def step(self, seconds: float) -> None:
        """Time passes; what comes is heard."""
        for _ in range(round(seconds / TICK)):
            self.emulator.step(TICK)
            while True:
                try:
                    data = self._socket.recv(2048)
                except BlockingIOError:
                    break
                self.heard += self.codec.decode(data)

    def of(self, kind: str) -> list[Any]:
        """Messages of one type."""
        return [m for m in self.heard if m.get_type() == kind]

    def command(self, number: int, *parameters: float) -> int:
        """COMMAND_LONG; returns the result that came back."""
        before = len(self.of("COMMAND_ACK"))
        values = (*parameters, *(0.0,) * (7 - len(parameters)))
        self.send(self.mav.MAVLink_command_long_message(1, 1, number, 0, *values))
        self.step(0.02)
        answers = self.of("COMMAND_ACK")[before:]
        assert len(answers) == 1 and answers[0].command == number
        return int(answers[0].result)

    def close(self) -> None:
        self._socket.close()


@contextmanager
def emulated_client() -> Iterator[Client]:
    """A client of an emulated x500, both closed at the end."""
    port = free_port()
    emulator = PX4Emulator(load_vehicle("x500"), PX4EmulatorOptions(port=port))
    client = Client(emulator, port)
    try:
        yield client
    finally:
        client.close()
        emulator.close()

"""An emulated Crazyflie on a free port, at the pace of the wall or of the test, with the real driver at it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from control_stack.quadrotor.parameters import QuadrotorParameters, load_vehicle
from hardware.crazyflie import CrazyflieConfig, CrazyflieVehicle
from sim.config import SimulationConfig
from sim.emulators.crazyflie.firmware import EmulatedCrazyflie, FirmwareOptions
from sim.emulators.crazyflie.server import TICK, UdpServer
from sim.factory import make_vehicle


def emulator(
    options: FirmwareOptions | None = None,
    simulation: SimulationConfig | None = None,
    parameters: QuadrotorParameters | None = None,
) -> EmulatedCrazyflie:
    """A vehicle without a wire, for tests that hand it bytes."""
    parameters = parameters or load_vehicle("crazyflie")
    return EmulatedCrazyflie(
        make_vehicle("analytic", parameters, simulation or SimulationConfig()), parameters, options
    )


class Served:
    """A served vehicle. Paced by the wall until ``hold``; then only ``advance`` lets its time pass."""

    def __init__(self, firmware: EmulatedCrazyflie, tick: float = TICK):
        self.firmware, self._tick = firmware, tick
        self.server = UdpServer([firmware])
        self.uri = f"udp://127.0.0.1:{self.server.ports[0]}"
        self._end, self._held, self._idle = threading.Event(), threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while not self._end.is_set():
            self._idle.clear()
            self.server.run(lambda: self._end.is_set() or self._held.is_set(), self._tick)
            self._idle.set()
            while self._held.is_set() and not self._end.is_set():
                self.server.listen(0.005)

    def hold(self) -> None:
        """Stops time; packets are still answered."""
        self._held.set()
        self._idle.wait(5.0)

    def go_on(self) -> None:
        """Time runs with the wall again."""
        self._idle.clear()
        self._held.clear()

    def advance(self, seconds: float) -> None:
        """Lets held time pass."""
        for _ in range(round(seconds / self._tick)):
            self.server.advance(self._tick)

    def close(self) -> None:
        """Ends the thread and the simulation."""
        self._end.set()
        self._thread.join(5.0)
        self.server.close()


class SteppedCrazyflie(CrazyflieVehicle):
    """The driver at a vehicle whose time the test holds: ``connect`` ends with it at rest, always the same."""

    def __init__(self, served: Served, parameters: QuadrotorParameters, config: CrazyflieConfig | None = None):
        super().__init__(parameters, served.uri, config)
        self._served = served

    def connect(self) -> None:
        if self._connected:
            return
        self._served.go_on()
        super().connect()
        self._served.hold()
        self._served.firmware.vehicle.reset()
        self.pass_time(0.5)

    def pass_time(self, seconds: float) -> None:
        """Lets time pass and waits for the state of its end."""
        self._served.advance(seconds)
        if self._connected:
            arrived = self.telemetry.wait(self._served.firmware.time - 0.5 / self.config.rate_hz, 5.0)
            assert arrived, "the state did not come"


@contextmanager
def served(options: FirmwareOptions | None = None, simulation: SimulationConfig | None = None) -> Iterator[Served]:
    """A served vehicle at the pace of the wall, closed at the end."""
    one = Served(emulator(options, simulation))
    try:
        yield one
    finally:
        one.close()


def stepped(cache: Path, parameters: QuadrotorParameters | None = None) -> tuple[Served, SteppedCrazyflie]:
    """A vehicle in steps of 10 ms, and the driver for it, not yet connected."""
    parameters = parameters or load_vehicle("crazyflie")
    one = Served(emulator(parameters=parameters), tick=0.01)
    return one, SteppedCrazyflie(one, parameters, CrazyflieConfig(cache=cache))


@contextmanager
def connected(cache: Path) -> Iterator[tuple[Served, SteppedCrazyflie]]:
    """The same, connected, and closed at the end."""
    one, vehicle = stepped(cache)
    vehicle.connect()
    try:
        yield one, vehicle
    finally:
        vehicle.close()
        one.close()

"""The two vehicles of ``link_faults``: the real drivers at the emulated ones, in the emulator's time."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from emulated_crazyflie import Served, emulator
from link_faults import DT, Flight
from px4_bench import TICK, free_port

from control_stack.flight.hardware import HardwareVehicle
from hardware.crazyflie import CrazyflieConfig, CrazyflieVehicle
from hardware.crazyflie.telemetry import Clock, Telemetry
from hardware.px4 import PX4Config, PX4Vehicle
from sim.emulators.faulty_link import Faults, FaultyLink
from sim.emulators.px4 import PX4Emulator, PX4EmulatorOptions
from sim.quadrotor import SimulatedQuadrotor

_PATIENCE = 2.0  # s of wall time for another thread to take a packet that has arrived


class _EmulatedTime(Clock):
    """The driver's own view of the vehicle's clock, with the emulator's time for the machine's."""

    def __init__(self, now: Callable[[], float]):
        super().__init__()
        self._now = now

    def heard(self, stamp: float, now: float) -> float:
        return super().heard(stamp, self._now())


class _SteppedCrazyflie(CrazyflieVehicle):
    """The driver on the emulator's clock: waiting for a state is what lets time pass."""

    def __init__(self, rig: CrazyflieRig, uri: str, cache: Path):
        self._rig_time = rig.emulator_time
        super().__init__(rig.parameters, uri, CrazyflieConfig(cache=cache))
        self._rig = rig
        self._seen = self._offset = 0

    def _new_telemetry(self) -> Telemetry:
        telemetry = super()._new_telemetry()
        telemetry.clock = _EmulatedTime(self._rig_time)
        return telemetry

    def connect(self) -> None:
        super().connect()
        self._link.cf.incoming.add_header_callback(self._count, 0, 0, 0, 0)  # of every packet, and called last

    def now(self) -> float:
        return self._rig_time() - self.telemetry.clock.offset

    def wait_for_state(self, patience: float) -> bool:
        self._rig.step()
        return True

    def arm(self) -> None:
        with self._rig.running():  # its waits are on the wall
            super().arm()

    def disarm(self) -> None:
        with self._rig.running():
            super().disarm()

    def synchronise(self) -> None:
        """What has arrived up to now counts as taken."""
        time.sleep(0.1)
        self._offset = self._rig.link.to_client["passed"] - self._seen

    def take_in(self) -> None:
        """Waits until the driver has taken what has arrived."""
        end = time.monotonic() + _PATIENCE
        while self._seen + self._offset < self._rig.link.to_client["passed"] and time.monotonic() < end:
            time.sleep(0.0002)

    def _count(self, packet: Any) -> None:
        self._seen += 1


class CrazyflieRig(Flight):
    """Over CRTP."""

    vehicle_name = "crazyflie"

    def __init__(self, cache: Path, seed: int = 0, **options: Any):
        self._cache, self._seed = cache, seed
        super().__init__(**options)

    def _open(self) -> HardwareVehicle:
        self.firmware = emulator()
        self.served = Served(self.firmware, tick=DT)
        port = self.served.server.ports[0]
        self.link = FaultyLink(vehicle=port, clock=self.emulator_time, seed=self._seed)
        self.link.start()
        self._driver = _SteppedCrazyflie(self, f"udp://127.0.0.1:{self.link.port}", self._cache)
        self._running = 1
        return self._driver

    def __enter__(self) -> CrazyflieRig:
        self.served.hold()
        self._running = 0
        self.firmware.vehicle.reset()
        self._driver.synchronise()
        self.tick(0.5)
        return self

    def __exit__(self, *details: object) -> None:
        self.link.faults = Faults()
        self.served.go_on()
        self.close()
        self.served.close()

    def running(self) -> _Running:
        """Emulated time runs with the wall meanwhile."""
        return _Running(self)

    def step(self) -> None:
        """One control period of the emulator's time; the driver has heard what it is to hear."""
        self.link.pump()
        self.served.server.advance(DT)
        self.link.pump()
        self._driver.take_in()
        self.stepped()

    def emulator_time(self) -> float:
        return self.firmware.time

    @property
    def quad(self) -> SimulatedQuadrotor:
        return self.firmware.vehicle  # type: ignore[return-value]

    def armed(self) -> bool:
        return self.firmware.supervisor.armed

    def sag(self, volts_per_cell: float) -> None:
        self.firmware.supply = volts_per_cell

    def freeze(self) -> None:
        frozen = self.firmware.vehicle.state()
        self.firmware.vehicle.state = lambda: frozen  # type: ignore[method-assign]

    def silence(self) -> None:
        self.firmware._logging.due = lambda now: []  # type: ignore[method-assign, assignment]


class _Running:
    def __init__(self, rig: CrazyflieRig):
        self._rig = rig

    def __enter__(self) -> None:
        self._rig._running += 1
        self._rig.served.go_on()

    def __exit__(self, *details: object) -> None:
        self._rig._running -= 1
        if not self._rig._running:
            self._rig.served.hold()


class _Clock:
    """The emulator's time as the PX4 driver's: sleeping steps the emulator and the link."""

    threaded = False

    def __init__(self, rig: PX4Rig):
        self._rig = rig

    def monotonic(self) -> float:
        return self._rig.emulator_time()

    def sleep(self, seconds: float) -> None:
        for _ in range(max(round(seconds / TICK), 1)):
            self._rig.link.pump()
            self._rig.emulator.step(TICK)
            self._rig.link.pump()
            if hasattr(self._rig, "flight"):
                self._rig.stepped()


class PX4Rig(Flight):
    """Over MAVLink."""

    vehicle_name = "x500"

    def __init__(self, cache: Path, seed: int = 0, **options: Any):
        self._seed = seed
        super().__init__(**options)

    def _open(self) -> HardwareVehicle:
        client = free_port()
        # The emulator's time is needed by the link, whose port the emulator sends to.
        self.link = FaultyLink(client=client, clock=self.emulator_time, seed=self._seed)
        self.emulator = PX4Emulator(self.parameters, PX4EmulatorOptions(port=self.link.port))
        return PX4Vehicle(self.parameters, f"udpin:127.0.0.1:{client}", PX4Config(), _Clock(self))

    def __enter__(self) -> PX4Rig:
        self.tick(0.5)
        return self

    def __exit__(self, *details: object) -> None:
        self.link.faults = Faults()
        self.close()
        self.emulator.close()

    def emulator_time(self) -> float:
        return self.emulator.quad.time

    @property
    def modes(self) -> list[str]:
        """What happened to the autopilot, in order."""
        return [name for _, name in self.emulator.autopilot.events]

    @property
    def quad(self) -> SimulatedQuadrotor:
        return self.emulator.quad

    def armed(self) -> bool:
        return self.emulator.autopilot.armed

    def sag(self, volts_per_cell: float) -> None:
        self.emulator.autopilot.battery = (volts_per_cell - 3.5) / 0.55

    def freeze(self) -> None:
        frozen = self.emulator.quad.state()
        self.emulator.quad.state = lambda: frozen  # type: ignore[method-assign]

    def silence(self) -> None:
        for route in self.emulator.routes:
            route.telemetry = lambda: None  # type: ignore[method-assign]


RIGS: dict[str, Any] = {"crazyflie": CrazyflieRig, "px4": PX4Rig}

"""A flight of a vehicle behind a vendor's link, in one process."""

from __future__ import annotations

from collections.abc import Callable

from control_stack.cli.flight import FlyConfig
from control_stack.cli.fly_in_process import InProcess
from control_stack.cli.hardware import HARDWARE
from control_stack.flight.hardware import HardwareFlight, HardwareVehicle
from control_stack.flight.in_process import InProcessFlight, Timing
from control_stack.flight.recorder import Recorder
from control_stack.quadrotor.parameters import QuadrotorParameters


class OnHardware(InProcess):
    """Driver and controllers, built and connected; a call arms and flies once."""

    _driver: HardwareVehicle

    def preflight(self) -> bool:
        """Prints the pre-flight list; whether nothing on it failed."""
        checks = self._driver.preflight()
        for check in checks:
            print(f"{'ok  ' if check.ok else 'FAIL'} {check.name}: {check.detail}", flush=True)
        return all(check.ok for check in checks)

    def _build(self, config: FlyConfig, parameters: QuadrotorParameters) -> HardwareVehicle:  # type: ignore[override]
        self._driver = HARDWARE[config.backend].make(parameters, config.uri or HARDWARE[config.backend].uri)
        self._driver.connect()
        return self._driver

    def _flight(self, timing: Timing, recorder: Recorder) -> InProcessFlight:
        return HardwareFlight(self._driver, self._side, self._controllers, timing, recorder)


def fly_hardware(
    config: FlyConfig, parameters: QuadrotorParameters, arm: bool, fly: Callable[[OnHardware], int]
) -> int:
    """Connects and prints the checks; goes on to ``fly`` only if it may arm. Returns the exit code."""
    with OnHardware(config, parameters) as flight:
        flight.preflight()
        if not arm:
            print("not armed: --arm is needed to fly")
            return 0
        return fly(flight)

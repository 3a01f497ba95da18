"""A flight of a vehicle behind a vendor's link: the checks before it, and the flight itself in one process."""

from __future__ import annotations

from collections.abc import Callable

from control_stack.cli.flight import FlyConfig, Outcome
from control_stack.cli.fly_in_process import InProcess
from control_stack.errors import NotReady
from control_stack.flight.hardware import Check, HardwareFlight, HardwareVehicle
from control_stack.flight.in_process import InProcessFlight, Timing
from control_stack.flight.recorder import Recorder
from control_stack.quadrotor.parameters import QuadrotorParameters


class OnHardware(InProcess):
    """Driver and controllers, built and connected; a call arms and flies once."""

    _driver: HardwareVehicle

    def preflight(self) -> list[Check]:
        """Prints the pre-flight list; returns what failed on it."""
        checks = self._driver.preflight()
        for check in checks:
            print(f"{'ok  ' if check.ok else 'FAIL'} {check.name}: {check.detail}", flush=True)
        return [check for check in checks if not check.ok]

    def _build(self, config: FlyConfig, parameters: QuadrotorParameters) -> HardwareVehicle:  # type: ignore[override]
        from hardware.factory import make_vehicle

        self._driver = make_vehicle(config.backend, parameters, config.uri or "", config.control_rate)
        self._driver.connect()
        return self._driver

    def _flight(self, timing: Timing, recorder: Recorder) -> InProcessFlight:
        return HardwareFlight(self._driver, self._side, self._controllers, timing, recorder)


def fly_hardware(
    config: FlyConfig, parameters: QuadrotorParameters, arm: bool, fly: Callable[[Callable[..., Outcome]], int]
) -> int:
    """Connects and prints the checks; goes on to ``fly`` only if it may arm. Returns the exit code.

    Over ROS the link is released after the checks: the hardware node opens it anew.

    Raises:
        NotReady: It may arm, but a check failed.
    """
    with OnHardware(config, parameters) as flight:
        failed = flight.preflight()
        if not arm:
            print("not armed: --arm is needed to fly")
            return 0
        if failed:
            raise NotReady("not armed: " + "; ".join(f"{check.name}: {check.detail}" for check in failed))
        if not config.ros:
            return fly(flight)
    from control_stack.cli.fly_ros import over_ros

    return fly(over_ros(config))

"""A flight of a vehicle behind a vendor's link: the checks before it, and the flight itself in one process."""

from __future__ import annotations

from collections.abc import Callable

from control_stack.cli.flight import FlyConfig, Outcome
from control_stack.cli.fly_in_process import InProcess
from control_stack.errors import InvalidInput, NotReady
from control_stack.flight.hardware import Check, HardwareFlight, HardwareVehicle, fence_checks
from control_stack.flight.in_process import InProcessFlight, Timing
from control_stack.flight.recorder import Recorder
from control_stack.protocols import Trajectory
from control_stack.quadrotor.parameters import QuadrotorParameters
from control_stack.types import QuadrotorState


class OnHardware(InProcess):
    """Driver and controllers, built and connected; a call arms and flies once."""

    _driver: HardwareVehicle

    def preflight(self, plan: Callable[[QuadrotorState], Trajectory]) -> list[Check]:
        """Prints the pre-flight list, with the fence and what ``plan`` has against flying from here; returns what
        failed on it."""
        config, state = self._config, self._driver.state()
        checks = [*self._driver.preflight(), *fence_checks(config.fence, config.takeoff_height, state)]
        try:
            plan(state)
        except InvalidInput as error:
            checks.append(Check("trajectory", False, str(error)))
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
    config: FlyConfig,
    parameters: QuadrotorParameters,
    arm: bool,
    plan: Callable[[QuadrotorState], Trajectory],
    fly: Callable[[Callable[..., Outcome]], int],
) -> int:
    """Connects and prints the checks; goes on to ``fly`` only if it may arm. Returns the exit code.

    Over ROS the link is released after the checks: the hardware node opens it anew.

    Raises:
        NotReady: It may arm, but a check failed.
    """
    with OnHardware(config, parameters) as flight:
        failed = flight.preflight(plan)
        if not arm:
            print("not armed: --arm is needed to fly")
            return 0
        if failed:
            raise NotReady("not armed: " + "; ".join(f"{check.name}: {check.detail}" for check in failed))
        if not config.ros:
            return fly(flight)
    from control_stack.cli.fly_ros import over_ros

    return fly(over_ros(config))

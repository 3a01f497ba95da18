"""Hardware back ends by name. A driver is imported when it is asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from control_stack.flight.hardware import HardwareVehicle
from control_stack.quadrotor.parameters import QuadrotorParameters


@dataclass(frozen=True)
class HardwareBackend:
    """make: builds the driver for a vehicle and a URI, unconnected. uri, vehicle: what is taken by default."""

    make: Callable[[QuadrotorParameters, str], HardwareVehicle]
    uri: str
    vehicle: str


def _px4(parameters: QuadrotorParameters, uri: str) -> HardwareVehicle:
    from hardware.px4 import PX4Vehicle

    return PX4Vehicle(parameters, uri)


def _crazyflie(parameters: QuadrotorParameters, uri: str) -> HardwareVehicle:
    from hardware.crazyflie import CrazyflieVehicle

    return CrazyflieVehicle(parameters, uri)


HARDWARE: dict[str, HardwareBackend] = {
    "crazyflie": HardwareBackend(_crazyflie, "udp://127.0.0.1:19850", "crazyflie"),
    "px4": HardwareBackend(_px4, "udpin:127.0.0.1:14540", "x500"),
}


def hardware_levels(backend: HardwareBackend, parameters: QuadrotorParameters, uri: str | None) -> tuple[str, ...]:
    """Command levels of a back end, known without connecting. Raises ControlStackError."""
    return tuple(level.value for level in backend.make(parameters, uri or backend.uri).spec.levels)

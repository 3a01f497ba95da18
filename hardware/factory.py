"""Drivers by name. A vendor's client library is imported when its driver is asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from control_stack.flight.hardware import HardwareVehicle, TellsStates
from control_stack.quadrotor.parameters import QuadrotorParameters


class Driver(HardwareVehicle, TellsStates, Protocol):
    """What every driver of this room is."""


@dataclass(frozen=True)
class Backend:
    """One kind of vehicle.

    Attributes:
        make: Builds the driver, unconnected, from vehicle, URI and rate of states and commands (Hz).
        uri, vehicle: What is taken by default.
        schemes: How its addresses begin.
    """

    make: Callable[[QuadrotorParameters, str, float], Driver]
    uri: str
    vehicle: str
    schemes: tuple[str, ...]


def _px4(parameters: QuadrotorParameters, uri: str, rate_hz: float) -> Driver:
    from hardware.px4 import PX4Config, PX4Vehicle

    return PX4Vehicle(parameters, uri, PX4Config(rate_hz=rate_hz))


def _crazyflie(parameters: QuadrotorParameters, uri: str, rate_hz: float) -> Driver:
    from hardware.crazyflie import CrazyflieConfig, CrazyflieVehicle

    return CrazyflieVehicle(parameters, uri, CrazyflieConfig(rate_hz=rate_hz))


BACKENDS: dict[str, Backend] = {
    "crazyflie": Backend(
        _crazyflie, "udp://127.0.0.1:19850", "crazyflie", ("radio://", "usb://", "udp://", "tcp://", "serial://")
    ),
    "px4": Backend(_px4, "udpin:127.0.0.1:14540", "x500", ("udpin:", "udpout:", "tcp:", "serial:")),
}


def make_vehicle(backend: str, parameters: QuadrotorParameters, uri: str = "", rate_hz: float = 100.0) -> Driver:
    """The driver of a back end, unconnected; its own URI where none is given. Raises ControlStackError."""
    found = BACKENDS[backend]
    return found.make(parameters, uri or found.uri, rate_hz)

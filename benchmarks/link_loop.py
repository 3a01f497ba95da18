"""A closed loop of 100 Hz over an emulated link: what the driver takes, how even the periods are, how old states are.

The emulator runs in a process of its own. Each period ends with the same setpoint sent once more by the vendor's
library without our driver: the peer, timed on the same link or socket kind in the same run.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.served_links import served
from control_stack.artefacts.tables import BenchRow
from control_stack.errors import FlightAborted
from control_stack.quadrotor.parameters import load_vehicle
from control_stack.types import Reference
from controllers.loader import build_controller
from hardware.factory import BACKENDS, make_vehicle

RATE = 100.0  # Hz
_CLIMB, _HEIGHT, _SETTLED = 0.5, 1.0, 4.0  # m/s, m, s after which it is measured
OVERHEAD, PERIOD = "< 1", "< 2"  # ms


class Stamped:
    """Stands before a socket and notes when the bytes of one thread were handed to the kernel."""

    def __init__(self, wire: Any):
        self._wire, self._thread = wire, threading.get_ident()
        self.at = 0.0

    def send(self, data: bytes) -> int:
        """As a connected socket."""
        sent = self._wire.send(data)
        self._note()
        return sent

    def sendto(self, data: bytes, peer: Any) -> int:
        """As a socket."""
        sent = self._wire.sendto(data, peer)
        self._note()
        return sent

    def write(self, data: bytes) -> None:
        """As pymavlink writes to a file."""
        self.send(bytes(data))

    def _note(self) -> None:
        if threading.get_ident() == self._thread:
            self.at = time.perf_counter()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._wire, name)


def _crazyflie(vehicle: Any) -> tuple[Stamped, Stamped, Callable[[], None]]:
    """The wire, the peer's wire, and the peer: cflib's own commander with the numbers that we sent last."""
    link, commander = vehicle.cf.link, vehicle.cf.commander
    link.socket = wire = Stamped(link.socket)
    plain, last = commander.send_setpoint, [(0.0, 0.0, 0.0, 0)]

    def noted(*numbers: Any) -> None:
        last[0] = numbers
        plain(*numbers)

    commander.send_setpoint = noted
    return wire, wire, lambda: plain(*last[0])


def _px4(vehicle: Any) -> tuple[Stamped, Stamped, Callable[[], None]]:
    """The peer is pymavlink's own send of the same setpoint on a socket of its own."""
    link, encoder = vehicle.link, vehicle._streamer._encoder
    transport = link._transport
    transport._socket = wire = Stamped(transport._socket)
    encode, last = encoder.encode, [None]

    def noted(command: Any, boot_ms: int) -> Any:
        last[0] = encode(command, boot_ms)
        return last[0]

    encoder.encode = noted
    plain = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    plain.connect(transport._peer)
    file = Stamped(plain)
    mav = link.mavlink.MAVLink(file, srcSystem=246, srcComponent=191)
    fields = ["time_boot_ms", "target_system", "target_component", "type_mask", "q"]
    fields += ["body_roll_rate", "body_pitch_rate", "body_yaw_rate", "thrust"]

    def send() -> None:
        # To nobody: what the vehicle would do with a second master is not what is measured.
        numbers = [getattr(last[0], name) for name in fields]
        numbers[1] = 99
        mav.set_attitude_target_send(*numbers)

    return wire, file, send


_PEERS = {"crazyflie": ("cflib's commander.send_setpoint", _crazyflie), "px4": ("pymavlink's mav.send", _px4)}


def measure(kind: str, seed: int, quick: bool) -> list[BenchRow]:
    """Hovers at 1 m under the geometric controller at its best level; ms of the periods after the climb."""
    return loop(kind, seed, round(RATE * (10.0 if quick else 60.0)))


def loop(kind: str, seed: int, periods: int) -> list[BenchRow]:
    """The rows of so many periods."""
    parameters = load_vehicle(BACKENDS[kind].vehicle)
    with served(kind, seed=seed) as server:
        vehicle = make_vehicle(kind, parameters, server.uris[0], RATE)
        controller: Any = build_controller("geometric", parameters, vehicle.spec.levels, RATE)
        vehicle.connect()
        try:
            name, peer_of = _PEERS[kind]
            wire, peer_wire, peer = peer_of(vehicle)
            figures = _hover(vehicle, controller, wire, peer_wire, peer, periods)
        finally:
            vehicle.close()
    test = f"{kind}, geometric at {controller.level.value}, 100 Hz over the emulated link"
    own, theirs, error, age = 1e3 * figures
    rows = []
    for q, target in ((50, None), (99, OVERHEAD)):
        values = (float(np.percentile(own, q)), float(np.percentile(theirs, q)))
        rows.append(BenchRow(test, f"controller output to bytes on the wire p{q}", values[0], "ms", target, values[1]))
    for q, target in ((50, None), (99, PERIOD)):
        rows.append(BenchRow(test, f"period error p{q}", float(np.percentile(error, q)), "ms", target))
    rows += [BenchRow(test, f"state age p{q}", float(np.percentile(age, q)), "ms") for q in (50, 99)]
    return rows


def _hover(
    vehicle: Any, controller: Any, wire: Stamped, peer_wire: Stamped, peer: Callable[[], None], periods: int
) -> np.ndarray:
    """(4, periods) s: driver, peer, error of the period, age of the state at the command."""
    vehicle.arm()
    ground = vehicle.state().position_w
    start = vehicle.now()
    found: list[tuple[float, ...]] = []
    before = time.perf_counter()
    while len(found) < periods:
        vehicle.wait_for_state(1.5 / RATE)
        state = vehicle.state()
        height = min(_CLIMB * (vehicle.now() - start), _HEIGHT)
        command = controller(state.stamp, state, Reference(ground + np.array([0.0, 0.0, height])))
        age, output = vehicle.now() - state.stamp, time.perf_counter()
        vehicle.send(command)
        own = wire.at - output
        asked = time.perf_counter()
        peer()
        if vehicle.now() - start > _SETTLED:
            found.append((own, peer_wire.at - asked, abs(output - before - 1.0 / RATE), age))
        before = output
    if vehicle.lost_control() is not None:
        raise FlightAborted(f"the vehicle was lost: {vehicle.lost_control()}")
    return np.array(found).T

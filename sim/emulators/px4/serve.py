"""``control-stack sim serve --as px4``: serves emulated autopilots until it is interrupted."""

from __future__ import annotations

import argparse
import sys
import time
from contextlib import suppress

from control_stack.errors import InvalidInput
from control_stack.quadrotor.parameters import load_vehicle
from sim.config import SimulationConfig
from sim.emulators.px4.emulator import TICK, PX4Emulator
from sim.emulators.px4.options import OFFBOARD_PORT, PX4EmulatorOptions
from sim.emulators.slowness import Slowness
from sim.sensors import sensor_preset

_SPACING = 2.0  # m between vehicles
_HOPELESS = 0.25  # s behind the wall from which the lost time is given up


def serve(options: argparse.Namespace) -> int:
    """Vehicle i sends to --port + i as MAVLink system 1 + i. Ends on SIGINT or SIGTERM, with exit code 0."""
    first = OFFBOARD_PORT if options.port is None else options.port
    if first + options.count - 1 > 65535:
        raise InvalidInput(f"--port {first} with --count {options.count} goes beyond port 65535")
    emulators: list[PX4Emulator] = []
    try:
        for i in range(options.count):
            emulators.append(_emulator(options, first + i, i))
            for route in emulators[-1].routes:
                where = f"{options.host}:{route.remote}"
                print(f"serving PX4, MAVLink system {1 + i}, from port {route.port} to udp {where}", flush=True)
        slowness = Slowness(_say)
        _run(emulators, slowness)
    finally:
        for emulator in emulators:
            emulator.close()
    if slowness.seconds:
        _say(f"the machine was too slow: {slowness.seconds:.1f} s were given up")
    return 0


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _emulator(options: argparse.Namespace, port: int, number: int) -> PX4Emulator:
    parameters = load_vehicle(options.vehicle or "x500")
    start = (0.0, _SPACING * number, 0.5 * float(parameters.body_size[2]))
    simulation = SimulationConfig(seed=options.seed + number, sensors=sensor_preset(options.sensors), position_w=start)
    return PX4Emulator(parameters, PX4EmulatorOptions(port, options.host, 1 + number), simulation)


def _run(emulators: list[PX4Emulator], slowness: Slowness) -> None:
    """Follows the wall clock until interrupted."""
    due = time.monotonic()
    with suppress(KeyboardInterrupt):
        while True:
            for emulator in emulators:
                emulator.step(TICK)
            due += TICK
            behind = time.monotonic() - due
            if behind < 0.0:
                time.sleep(-behind)
            elif behind > _HOPELESS:
                due += behind
                slowness.give_up(behind, due)

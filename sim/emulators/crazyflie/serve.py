"""Serves emulated Crazyflies until it is interrupted, and says how it went."""

from __future__ import annotations

import argparse
import sys
from contextlib import suppress

from control_stack.errors import InvalidInput
from control_stack.quadrotor.parameters import load_vehicle
from sim.config import SimulationConfig
from sim.emulators.crazyflie.firmware import EmulatedCrazyflie, FirmwareOptions
from sim.emulators.crazyflie.server import TICK, UdpServer
from sim.emulators.crazyflie.tcp import TcpRelay
from sim.factory import make_vehicle
from sim.sensors import sensor_preset

DEFAULT_PORT = 19850  # of the host build of the real firmware, and the first that cflib scans
_SPACING = 1.0  # m between vehicles
_SLOW_TICK = 0.01  # s, for many vehicles in one process


def vehicles(options: argparse.Namespace) -> list[EmulatedCrazyflie]:
    """The vehicles of a command line, in a row along y. Raises InvalidInput."""
    parameters = load_vehicle(options.vehicle or "crazyflie")
    sensors = sensor_preset(options.sensors)
    made = []
    for i in range(options.count):
        start = (0.0, _SPACING * i, 0.5 * float(parameters.body_size[2]))
        config = SimulationConfig(seed=options.seed + i, sensors=sensors, position_w=start)
        made.append(EmulatedCrazyflie(make_vehicle("analytic", parameters, config), parameters, FirmwareOptions()))
    return made


def serve(options: argparse.Namespace) -> int:
    """Serves on --host from --port on. Ends on SIGINT or SIGTERM, with exit code 0."""
    first = DEFAULT_PORT if options.port is None else options.port
    if first + options.count - 1 > 65535:
        raise InvalidInput(f"--port {first} with --count {options.count} goes beyond port 65535")

    def say(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    with UdpServer(vehicles(options), options.host, first, say) as server, TcpRelay(server.ports, options.host):
        for port in server.ports:
            print(f"serving a Crazyflie on udp://{options.host}:{port}, and tcp:// there", flush=True)
        with suppress(KeyboardInterrupt):
            server.run(lambda: False, TICK if options.count == 1 else _SLOW_TICK)
        if server.slowness.seconds:
            say(f"the machine was too slow: {server.slowness.seconds:.1f} s were given up")
    return 0

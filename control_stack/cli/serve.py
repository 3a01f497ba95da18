"""control-stack sim serve: presents the simulated quadrotor on a vendor's wire, for that vendor's own clients."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from control_stack.cli.arguments import check_seed
from control_stack.errors import InvalidInput
from control_stack.quadrotor.parameters import vehicle_names

_EPILOG = """examples:
  control-stack sim serve --as crazyflie                      then: cflib on udp://127.0.0.1:19850
  control-stack sim serve --as crazyflie --count 20           ports 19850 to 19869
  control-stack sim serve --as px4 --vehicle x500             then: MAVSDK or control-stack fly on udpin:127.0.0.1:14540
"""


def _crazyflie(options: argparse.Namespace) -> int:
    from sim.emulators.crazyflie.serve import serve

    return serve(options)


def _px4(options: argparse.Namespace) -> int:
    from sim.emulators.px4.serve import serve

    return serve(options)


# How to serve, by kind: each imports its emulator when it is asked for.
KINDS: dict[str, Callable[[argparse.Namespace], int]] = {"crazyflie": _crazyflie, "px4": _px4}


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Adds the command ``sim`` with its one action."""
    sim = commands.add_parser("sim", help="the simulator by itself: serve it on a vehicle's own wire")
    actions = sim.add_subparsers(dest="action", metavar="ACTION", required=True)
    parser = actions.add_parser(
        "serve",
        help="be a vehicle that others connect to",
        description=__doc__,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--as", dest="kind", required=True, choices=sorted(KINDS), help="whose wire")
    add(
        "--port",
        type=int,
        metavar="N",
        help="crazyflie: listened on (default 19850); px4: sent to (default 14540)",
    )
    add("--vehicle", metavar="NAME|FILE", help=f"{', '.join(vehicle_names())}, or a vehicle file")
    add("--host", default="127.0.0.1", metavar="ADDRESS", help="address to serve on (default: this machine only)")
    add("--count", type=int, default=1, metavar="N", help="vehicles, on consecutive ports (default 1)")
    add("--seed", type=int, default=0, help="of sensor noise (default 0)")
    add("--sensors", default="none", metavar="PRESET", help="none, mocap, vio or rtk (noise, delay and dropout)")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Serves until it is interrupted."""
    if options.port is not None and not 1 <= options.port <= 65535:
        raise InvalidInput(f"--port must be from 1 to 65535, got {options.port}")
    if not 1 <= options.count <= 100:
        raise InvalidInput(f"--count must be from 1 to 100, got {options.count}")
    check_seed(options.seed)
    return KINDS[options.kind](options)

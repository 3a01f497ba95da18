"""control-stack fit margin: how much acceleration a safety filter must take for unknown, from whole flights.

FILE is what a scene's margin names: margin: {model: FILE}. Of N flights, exchangeable with those to come, a further one
exceeds it with probability delta at most, which can be no smaller than 1 / (N + 1).
"""

from __future__ import annotations

import argparse

from control_stack.cli.arguments import output_file
from control_stack.types import CommandLevel

LEVELS = (CommandLevel.CTBR.value, CommandLevel.ROTORS.value)


def add_parser(kinds: argparse._SubParsersAction) -> None:
    """Adds the kind to ``control-stack fit``."""
    parser = kinds.add_parser("margin", help="a safety filter's unknown acceleration", description=__doc__)
    parser.add_argument("logs", nargs="+", metavar="LOG", help="flight.mcap files, or run folders of control-stack fly")
    parser.add_argument("--vehicle", required=True, metavar="NAME|FILE", help="vehicle of the logs")
    parser.add_argument("--level", required=True, choices=LEVELS, help="command level that was flown")
    parser.add_argument("--out", required=True, metavar="FILE", help="JSON that the scene names")
    parser.add_argument("--delta", type=float, default=0.1, help="share of flights that may exceed it (default 0.1)")
    parser.add_argument(
        "--wind-known", action="store_true",
        help="the wind that config.yaml beside a log tells is the scene's margin: wind, and not counted here",
    )  # fmt: skip
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Measures; returns the exit code."""
    import numpy as np

    from control_stack.learning.flight_data import read_log
    from control_stack.quadrotor.parameters import load_vehicle
    from control_stack.safety.barrier.learned_margin import of_flights, write

    target = output_file("--out", options.out)
    parameters, level = load_vehicle(options.vehicle), CommandLevel(options.level)
    wind = None if options.wind_known else np.zeros(3)
    logs = [read_log(path, parameters, level, wind) for path in options.logs]
    found = of_flights(logs, parameters, level, options.delta)
    write(found, target)
    print(f"unknown acceleration: {found.acceleration:.3g} m/s^2, exceeded in {options.delta:.0%} of flights at most")
    print(f"margin: {target}")
    return 0

"""Parses the command line and hands over to a command. Bad input is one line on stderr and exit code 2."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import NoReturn

from control_stack.cli.interrupts import noted, raised
from control_stack.errors import ControlStackError, FlightAborted, TrainingAborted
from control_stack.threads import blas_threads

EXIT_FLOWN, EXIT_ABORTED, EXIT_BAD_INPUT, EXIT_INTERRUPTED = 0, 1, 2, 130


def _version() -> str:
    try:
        return version("control-stack")
    except PackageNotFoundError:
        return "not installed"


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line; argparse would print the whole usage before it."""

    def error(self, message: str) -> NoReturn:
        if message.endswith("expected one argument"):
            message += "; a value that begins with - is joined by =, as in --wind=-1,0,0"
        self.exit(EXIT_BAD_INPUT, f"error: {message} (see {self.prog} --help)\n")


def build_parser() -> argparse.ArgumentParser:
    """The whole command line."""
    with noted() as check:  # the commands bring numpy, scipy and matplotlib
        from control_stack.cli import (
            airframes,
            arm,
            bench,
            collect,
            doctor,
            export,
            fit,
            fly,
            push,
            serve,
            train,
            verify,
        )
    check()
    parser = _Parser(
        prog="control-stack",
        description="Model-based control of robots: fly in simulation, fit a model, control with it, fly the robot.",
    )
    parser.add_argument("--version", action="version", version=f"control-stack {_version()}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for module in (fly, push, arm, serve, collect, fit, train, airframes, export, verify, bench, doctor):
        module.add_parser(commands)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command; returns its exit code."""
    os.environ.update(blas_threads())  # before a command brings numpy; the nodes that it starts inherit it
    try:
        with raised():
            options = build_parser().parse_args(arguments)
            return options.run(options)
    except (FlightAborted, TrainingAborted) as error:
        print(f"aborted: {error}", file=sys.stderr)
        return EXIT_ABORTED
    except ControlStackError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_BAD_INPUT
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED

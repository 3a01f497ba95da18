"""control-stack doctor: what is installed, what is missing, and whether ROS nodes find each other here."""

from __future__ import annotations

import argparse
import importlib.util
import os
import platform
import subprocess
import sys

from control_stack.artefacts.runs import machine, versions
from control_stack.artefacts.tables import table
from control_stack.errors import install_command

_EXTRAS = {
    "ros": ("rclpy", "nav_msgs", "sensor_msgs", "std_srvs", "trajectory_msgs", "diagnostic_msgs"),
    "sim": ("casadi", "pybullet"),
    "mpc": ("casadi",),
    "mip": ("pyomo", "highspy"),
    "filter": ("daqp",),
    "hardware": ("cflib", "pymavlink"),
    "learn": ("torch", "safetensors"),
}


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Adds the command to the front door."""
    parser = commands.add_parser(
        "doctor", help="say what is installed and what is missing", description=__doc__.splitlines()[0]
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Prints what it finds; nothing here is a failure, so the exit code is 0."""
    info = machine()
    print(
        table(
            [
                ["machine", f"{info.get('cpu', '')}, {info.get('cores', '')} cores"],
                ["python", platform.python_version()],
            ]
        )
    )
    rows = []
    for extra, modules in _EXTRAS.items():
        missing = [m for m in modules if importlib.util.find_spec(m) is None]
        note = "" if not missing else install_command(extra)
        if "pybullet" in missing and sys.version_info >= (3, 12):
            note = "PyBullet has no wheel for this Python: fly --backend analytic"
        rows.append([extra, "complete" if not missing else f"missing {', '.join(missing)}", note])
    print(table(rows, ("extra", "state", "what to do")))
    print(table(sorted(versions().items()), ("package", "version")))
    print(table([["ROS discovery between two processes", _discovery()]]))
    return 0


def _discovery() -> str:
    if importlib.util.find_spec("rclpy") is None:
        return "not tried: rclpy is missing"
    from control_stack.ros.probe import TOPIC, hears_topic

    # A group of its own: Ctrl-C reaches this process only, which then ends the talker.
    talker = subprocess.Popen([sys.executable, "-m", "control_stack.ros.probe"], start_new_session=True)
    try:
        heard = hears_topic(TOPIC, timeout=10.0)
    finally:
        talker.terminate()
        talker.wait(10.0)
    domain = os.environ.get("ROS_DOMAIN_ID", "0")
    if heard is None:
        return f"FAILS in domain {domain}: no message within 10 s; is a firewall closing loopback multicast?"
    return f"works in domain {domain}, first message after {heard:.2f} s"

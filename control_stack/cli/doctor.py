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
    "hardware": ("cflib", "pymavlink"),
    "learn": ("torch", "safetensors"),
}
_TALKER = """
import rclpy, time
from rclpy.signals import SignalHandlerOptions
from std_msgs.msg import String
rclpy.init(signal_handler_options=SignalHandlerOptions.NO)  # so that SIGTERM ends it without a word
node = rclpy.create_node("doctor_talker")
publisher = node.create_publisher(String, "control_stack_doctor", 1)
for _ in range(100):
    publisher.publish(String(data="hello"))
    time.sleep(0.1)
"""


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
    from control_stack.ros.probe import hears_topic

    environment = {**os.environ}
    environment.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    # A group of its own: Ctrl-C reaches this process only, which then ends the talker.
    talker = subprocess.Popen([sys.executable, "-c", _TALKER], env=environment, start_new_session=True)
    try:
        heard = hears_topic("control_stack_doctor", timeout=10.0)
    finally:
        talker.terminate()
        talker.wait(10.0)
    domain = environment.get("ROS_DOMAIN_ID", "0")
    if heard is None:
        return f"FAILS in domain {domain}: no message within 10 s; is a firewall closing loopback multicast?"
    return f"works in domain {domain}, first message after {heard:.2f} s"

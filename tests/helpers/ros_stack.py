"""Real nodes in processes of their own, driven by a real client: what the ROS tests share."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from control_stack.artefacts.record import FlightRecord, read_flight
from control_stack.cli.processes import Nodes
from control_stack.ros.client import FlightClient


def quiet(t: float, phase: object) -> None:
    """A progress callback that shows nothing."""


class Stack:
    """A sim node and a controller node; ``client`` sees them as a user's program would."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.log = folder / "flight.mcap"
        self.nodes = Nodes(folder)
        self.client = FlightClient(alive=self.nodes.alive)
        self.node = self.client._node

    def start_sim(self, **parameters: Any) -> None:
        base = {"backend": "analytic", "log_path": str(self.log)}
        self.nodes.start("sim.node", "sim", {**base, **parameters})

    def start_controller(self, **parameters: Any) -> None:
        self.nodes.start("controllers.node", "controller", parameters)

    def start(self, sim: dict[str, Any] | None = None, controller: dict[str, Any] | None = None) -> None:
        self.start_sim(**(sim or {}))
        self.start_controller(**(controller or {}))
        self.client.wait_ready()

    def take_off(self) -> None:
        self.client.call("arm", True)
        self.client.call("takeoff")
        self.until(lambda: self.client.phase is not None and self.client.phase.value == "flying", "flying")

    def until(self, done: Callable[[], bool], what: str, wall: float = 30.0) -> None:
        """Spins until done; the wall time only bounds a hang."""
        deadline = time.monotonic() + wall
        while not done():
            assert time.monotonic() < deadline, f"never came: {what}"
            self.client._executor.spin_once(timeout_sec=0.02)

    def spin_for(self, sim_seconds: float) -> None:
        end = self.client.t + sim_seconds
        self.until(lambda: self.client.t >= end, f"{sim_seconds} s of simulated time")

    def counts(self, node: str) -> dict[str, int]:
        """Rejections told by a node on /diagnostics."""
        return {k: int(v) for k, v in self.client.status(node).items() if "/" in k}

    def record(self) -> FlightRecord:
        """Stops the nodes and reads the log."""
        self.nodes.stop()
        return read_flight(self.log, states="ground_truth")

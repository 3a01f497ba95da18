"""Real nodes in processes of their own, driven by a real client: what the ROS tests share."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from control_stack.artefacts.record import FlightRecord, read_flight
from control_stack.cli.processes import Nodes
from control_stack.ros.client import FlightClient

# Domains 1..100 are safe on Linux (above 101 their ports meet the ephemeral range). Tests that run side by side have
# a share each: counting on from process ids that lie close together, one would meet the other.
_SHARE = 100 // int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
_FIRST = 1 + _SHARE * int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_domains = itertools.count(os.getpid())


def own_domain(monkeypatch: pytest.MonkeyPatch) -> str:
    """A ROS domain that no other test of this process has, on this host only."""
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    number = str(_FIRST + next(_domains) % _SHARE)
    monkeypatch.setenv("ROS_DOMAIN_ID", number)
    return number


def quiet(t: float, phase: object) -> None:
    """A progress callback that shows nothing."""


class Stack:
    """A vehicle's node and a controller node; ``client`` sees them as a user's program would."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.log = folder / "flight.mcap"
        self.nodes = Nodes(folder)
        self.client = FlightClient(alive=self.nodes.alive)
        self.node = self.client._node

    def start_sim(self, **parameters: Any) -> None:
        base = {"backend": "analytic", "log_path": str(self.log)}
        self.nodes.start("sim.node", "sim", {**base, **parameters})

    def start_hardware(self, backend: str, uri: str, vehicle: str, arm: bool = True, **parameters: Any) -> None:
        """The hardware node and a controller node for it; slow and patient, for machines that are busy."""
        rate = 50.0
        base = {"backend": backend, "uri": uri, "vehicle": vehicle, "arm": arm}
        base |= {"control_rate": rate, "command_timeout": 0.3, "max_state_age": 0.3}
        self.nodes.start("hardware.node", "hardware", {**base, "log_path": str(self.log), **parameters})
        levels = ["ctbr", "attitude", "velocity", "position"]
        self.start_controller(vehicle=vehicle, lockstep=False, driven_by="states", levels=levels, control_rate=rate)

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

    def record(self, states: str = "ground_truth") -> FlightRecord:
        """Stops the nodes and reads the log."""
        self.nodes.stop()
        return read_flight(self.log, states=states)


@contextmanager
def running(folder: Path) -> Iterator[Stack]:
    """A stack that ends with the test."""
    made = Stack(folder)
    try:
        yield made
    finally:
        made.nodes.stop()
        made.client.close()

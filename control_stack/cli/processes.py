"""Starts the nodes of a flight as processes of their own and ends exactly those."""

from __future__ import annotations

import ctypes
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from control_stack.errors import FlightAborted

_GRACE = 10.0  # s for a node to close its log after being told to stop


_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def _end_with_parent() -> None:
    """Runs in the child: SIGTERM when the flight that started it dies, however it dies."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


class NodeProgram(NamedTuple):
    """A node to start: its module, its name, and its parameters for this run."""

    module: str
    name: str
    parameters: dict[str, Any]


class Nodes:
    """Child processes, each a node with one parameter file and a log of what it prints."""

    def __init__(self, folder: Path):
        self._folder = folder
        self._children: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, module: str, node: str, parameters: dict[str, Any], namespace: str = "") -> None:
        """Runs ``python -m module`` with the parameters given to its node."""
        file = self._folder / f"{node}.yaml"
        prefix = f"/{namespace}" if namespace else ""
        file.write_text(yaml.safe_dump({f"{prefix}/{node}": {"ros__parameters": parameters}}), encoding="utf-8")
        command = [sys.executable, "-m", module, "--ros-args", "--params-file", str(file)]
        if namespace:
            command += ["-r", f"__ns:=/{namespace}"]
        with (self._folder / f"{node}.log").open("wb") as log:
            # A group of its own: Ctrl-C reaches this process only, which then lands before it stops the nodes.
            self._children[node] = subprocess.Popen(
                command,
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                preexec_fn=_end_with_parent,
            )

    def alive(self, *names: str) -> None:
        """Raises FlightAborted with the last line of a node that has ended; looks at all without names."""
        for node, child in self._children.items():
            if (not names or node in names) and child.poll() is not None:
                said = self.last_line(node)
                how = f": {said}" if said else ", without a word"
                raise FlightAborted(f"the {node} node ended with code {child.returncode}{how}")

    def last_line(self, node: str) -> str:
        """What a node said last: its error line if there is one; empty if it said nothing."""
        lines = (self._folder / f"{node}.log").read_text(encoding="utf-8", errors="replace").splitlines()
        errors = [line for line in lines if line.startswith("error: ")]
        return (errors or [line for line in lines if line.strip()] or [""])[-1].removeprefix("error: ")

    def pid(self, node: str) -> int:
        """Process id of a node."""
        return self._children[node].pid

    def wait(self, node: str, timeout: float = 30.0) -> int:
        """Exit code of a node that ends by itself."""
        return self._children[node].wait(timeout)

    def kill(self, node: str, signum: int) -> None:
        """Ends one node with a signal and forgets it."""
        child = self._children.pop(node)
        child.send_signal(signum)
        child.wait(_GRACE)

    def stop(self) -> None:
        """Asks every child to end, and kills what does not within the grace time."""
        for child in self._children.values():
            if child.poll() is None:
                child.terminate()
        for child in self._children.values():
            try:
                child.wait(_GRACE)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()

"""Emulated vehicles in a process of their own, for measurements at the other end of the wire."""

from __future__ import annotations

import random
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from control_stack.errors import LinkError

ROOT = Path(__file__).resolve().parents[1]
_GRACE = 20.0  # s for a server to end


@dataclass
class Served:
    """uris: Where the vehicles are found. said: What the server wrote to stderr, once it has ended."""

    uris: list[str]
    said: str = field(default="")


@contextmanager
def served(kind: str, count: int = 1, seed: int = 0) -> Iterator[Served]:
    """``control-stack sim serve`` on free ports of this machine. Raises LinkError if it does not start."""
    first = free_ports(count)
    command = [sys.executable, "-m", "control_stack.cli", "sim", "serve", "--as", kind, "--port", str(first)]
    options = ["--count", str(count), "--seed", str(seed)]
    form = "udp://127.0.0.1:{}" if kind == "crazyflie" else "udpin:127.0.0.1:{}"
    found = Served([form.format(first + i) for i in range(count)])
    with subprocess.Popen(
        command + options, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            for _ in range(count):
                if not process.stdout.readline():
                    raise LinkError(f"sim serve --as {kind} did not start: {process.communicate()[1].strip()}")
            yield found
        finally:
            process.send_signal(signal.SIGINT)
            try:
                found.said = process.communicate(timeout=_GRACE)[1]
            except subprocess.TimeoutExpired:
                process.kill()


def free_ports(count: int) -> int:
    """The first of as many ports in a row that nobody has, neither UDP nor TCP."""
    for first in random.SystemRandom().sample(range(20000, 32000, 100), 50):
        with ExitStack() as taken, suppress(OSError):
            for port in range(first, first + count):
                for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
                    taken.enter_context(socket.socket(socket.AF_INET, kind)).bind(("127.0.0.1", port))
            return first
    raise LinkError(f"this machine has no {count} free ports in a row")

"""Solver processes from the parent's side: one at work, one warm in reserve."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
import weakref
from collections.abc import Sequence
from multiprocessing.connection import Connection
from typing import Any

from control_stack.types import Array
from controllers.planning.mip.neighbours import Neighbourhood
from controllers.planning.mip.program import Milp

# HiGHS looks for an interrupt between rounds of cuts, which may take tens of milliseconds. One that was told to stop
# becomes the spare; it is killed if it has not stopped after this, or when both are needed again.
PATIENCE_S = 1.0
# Started with the parent's own import path, whatever set it, and without its main module.
_COMMAND = (
    "import sys; sys.path[:] = sys.argv[2:]; from controllers.planning.mip.worker import serve; serve(int(sys.argv[1]))"
)


class SolverProcess:
    """One worker. Messages are dropped unless they belong to its current job.

    Attributes:
        ready: Whether it is up.
        busy: Whether a job's answer is outstanding.
        broken: Why it can solve nothing; empty while it can.
    """

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _COMMAND, str(theirs.fileno()), *sys.path],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C is the parent's to handle
            )
        self._connection = Connection(ours.detach())
        self._number, self._stopped = 0, float("inf")
        self.busy, self.broken, self.ready = False, "", False

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    def wait_until_ready(self, until: float = float("inf")) -> None:
        """Blocks until it is up, or broken, or this time (monotonic) has come."""
        while not (self.ready or self.broken) and time.monotonic() < until:
            self.receive(min(until, time.monotonic() + 0.02))

    def start(
        self, milp: Milp, starts: Sequence[Array], relative_gap: float, neighbourhood: Neighbourhood | None = None
    ) -> None:
        """Hands over a program to a process that is up, or broken."""
        self._number += 1
        self.busy, self._stopped = True, float("inf")
        self._send(("solve", self._number, milp, starts, relative_gap, neighbourhood))

    def settled(self) -> bool:
        """Whether it is free for another program by now."""
        while self.busy and self.receive(0.0):
            pass
        return not (self.busy or self.broken)

    def overdue(self) -> bool:
        """Whether it was told to stop long ago and has not."""
        return self.busy and time.monotonic() - self._stopped > PATIENCE_S

    def stop(self) -> None:
        """Asks for an interrupt."""
        self._stopped = time.monotonic()
        self._send(("stop", self._number))

    def receive(self, until: float) -> tuple[Any, ...] | None:
        """The next message of the job (kind, content), ("ended", why), or None at this time (monotonic)."""
        while not self.broken:
            try:
                if not self._connection.poll(max(0.0, until - time.monotonic())):
                    return None
                kind, *rest = self._connection.recv()
            except (EOFError, OSError):
                self._end()
                break
            if kind == "ready":
                self.ready, self.broken = True, rest[0]
            elif rest[0] == self._number:
                self.busy = self.busy and kind != "done"
                return kind, rest[1]
        self.busy = False
        return "ended", self.broken

    def kill(self) -> None:
        """Ends the process at once and waits for it, so that nothing of it is left."""
        self._process.kill()
        self._process.wait()
        self._connection.close()

    def _send(self, message: tuple[Any, ...]) -> None:
        try:
            self._connection.send(message)
        except OSError:
            self._end()

    def _end(self) -> None:
        self._process.kill()
        self.broken = self.broken or f"the solver's process ended with code {self._process.wait()}"


class SolverPair:
    """The worker in use and a spare that is already up."""

    def __init__(self) -> None:
        self._pair = [SolverProcess(), SolverProcess()]
        self._finalizer = weakref.finalize(self, _kill_all, self._pair)

    @property
    def pids(self) -> tuple[int, int]:
        """Of the worker in use and of the spare."""
        return self._pair[0].pid, self._pair[1].pid

    def wait_until_ready(self) -> None:
        """Blocks until both are up, or broken."""
        for worker in self._pair:
            worker.wait_until_ready()

    def idle(self) -> tuple[SolverProcess, tuple[str, ...]]:
        """A worker without a job, and notes on what had to be done for it."""
        notes = []
        if not self._pair[0].settled():
            notes.append(self._pair[0].broken or "the solver had not stopped: the spare took over")
            self._pair.reverse()
        used, spare = self._pair
        if spare.broken or spare.overdue():
            self._replace(1)
        if not used.settled():  # neither is free
            self._replace(0)
            notes.append(used.broken or "the solver did not stop and was killed")
        return self._pair[0], tuple(notes)

    def _replace(self, k: int) -> None:
        self._pair[k].kill()
        self._pair[k] = SolverProcess()

    def close(self) -> None:
        """Ends both; may be called again."""
        self._finalizer()


def _kill_all(pair: list[SolverProcess]) -> None:
    for worker in pair:
        worker.kill()

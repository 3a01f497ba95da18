"""The solver's process: takes one program after another, streams incumbents, stops when told.

    parent -> worker   ("solve", number, program, starts, relative gap, neighbourhood), ("stop", number)
    worker -> parent   ("ready", error or ""), ("incumbent", number, Incumbent), ("bound", number, value),
                       ("done", number, Answer)

When the parent is gone, however it ended, so is the worker.
"""

from __future__ import annotations

import os
import queue
import threading
from multiprocessing.connection import Connection
from typing import Any

from controllers.planning.mip.solve import Answer, Incumbent, solve


def serve(descriptor: int) -> None:
    """Until the connection on this file descriptor ends."""
    connection = Connection(descriptor)
    try:
        import highspy  # noqa: F401  loaded before the first program comes
    except ImportError as error:
        connection.send(("ready", f"HiGHS cannot be used: {error}"))
        return
    jobs: queue.Queue[Any] = queue.Queue()
    stopped: set[int] = set()
    threading.Thread(target=_listen, args=(connection, jobs, stopped), daemon=True).start()
    connection.send(("ready", ""))
    while True:
        number, milp, starts, relative_gap, neighbourhood = jobs.get()

        def found(incumbent: Incumbent, number: int = number) -> None:
            connection.send(("incumbent", number, incumbent))

        def told(number: int = number) -> bool:
            return number in stopped

        def bounded(bound: float, number: int = number) -> None:
            connection.send(("bound", number, bound))

        try:
            answer = solve(milp, starts, found, told, bounded, None, relative_gap, neighbourhood)
        except Exception as error:  # whatever it is, the parent has a plan to go on with
            answer = Answer("failed", note=f"{type(error).__name__}: {error}")
        connection.send(("done", number, answer))


def _listen(connection: Connection, jobs: queue.Queue[Any], stopped: set[int]) -> None:
    """HiGHS runs without Python's lock, so this thread hears of a stop, or of the parent's end, while it does."""
    while True:
        try:
            message = connection.recv()
        except (EOFError, OSError):
            os._exit(0)
        if message[0] == "solve":
            jobs.put(message[1:])
        else:
            stopped.add(message[1])

"""SIGINT (Ctrl-C) and SIGTERM, which here mean the same: stop, but leave things in order.

Both are taken even where a shell started this process with SIGINT ignored, as it does with ``command &``.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_STUCK = 1.0  # s of wall time


def raised() -> Any:
    """Context in which either signal raises KeyboardInterrupt wherever it strikes."""
    return _handled(signal.default_int_handler)


@contextmanager
def noted() -> Iterator[Callable[[], None]]:
    """Context in which either signal is only noted; what it gives raises KeyboardInterrupt for one, when called.

    Where a signal struck by itself it could leave half a period, half a record in the log or half an import. One
    that was not asked for in a second, because what runs is stuck, no longer keeps the next from striking.
    """
    noted_at: float | None = None

    def note(*details: Any) -> None:
        nonlocal noted_at
        if noted_at is not None and time.monotonic() - noted_at > _STUCK:
            check()
        noted_at = time.monotonic() if noted_at is None else noted_at

    def check() -> None:
        nonlocal noted_at
        if noted_at is not None:
            noted_at = None
            raise KeyboardInterrupt

    with _handled(note):
        yield check


@contextmanager
def _handled(handler: Callable[..., Any]) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():  # others may not set handlers
        yield
        return
    previous = {number: signal.signal(number, handler) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, before in previous.items():
            signal.signal(number, before)

"""Processes that measure beside one another without getting in each other's way."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def available() -> list[int]:
    """Cores that this process may use."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))


def one_core_each(workers: int, pinned: bool = False) -> ProcessPoolExecutor:
    """Started processes whose linear algebra takes no threads: products of this size only wait for each other in them.

    Args:
        workers: How many. pinned: Each, and all that it starts, stays on a core of its own; as many cores as workers.
    """
    context = get_context("spawn")
    cores = context.SimpleQueue()
    for core in available()[:workers] if pinned else ():
        cores.put(core)
    with _one_thread():
        pool = ProcessPoolExecutor(workers, context, *((_claim, (cores,)) if pinned else ()))
        for started in [pool.submit(os.getpid) for _ in range(workers)]:
            started.result()
    return pool


def _claim(cores: Any) -> None:
    core = cores.get()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {core})


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Of processes that are started within: they read it when they begin."""
    before = {name: os.environ.get(name) for name in _THREADS}
    os.environ.update(dict.fromkeys(_THREADS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value

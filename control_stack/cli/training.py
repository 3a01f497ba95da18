"""What the commands that learn or collect have in common: progress bars, torch, and how to go on after a stop."""

from __future__ import annotations

import importlib.util
import math
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from tqdm import tqdm

from control_stack.errors import MissingDependency

BarsType = TypeVar("BarsType", bound="Bars")


def load_torch() -> Any:
    """torch on one core: products in training are small, and slower on more. Raises MissingDependency."""
    if importlib.util.find_spec("torch") is None:
        raise MissingDependency("torch", "learn")
    import torch

    torch.set_num_threads(1)
    return torch


@contextmanager
def resumable(folder: Path, how: str = "is gone on with") -> Iterator[None]:
    """Context of work in a folder: where the user stops it, it says how to go on."""
    try:
        yield
    except KeyboardInterrupt:
        print(f"{shlex.quote(str(folder))} {how} by the same command", file=sys.stderr)
        raise


def smoothed(mean: float, value: float) -> float:
    """A running mean; NaN before the first value."""
    return value if math.isnan(mean) else 0.95 * mean + 0.05 * value


class Bars:
    """One progress bar after the other on stderr, a stage each. Leave its context before anything else is printed.

    Args:
        unit: Of what is counted.
        width: That the stages' names are filled up to.
    """

    def __init__(self, unit: str, width: int = 0):
        self._unit, self._width = unit, width
        self._bar: Any = None
        self._stage = ""

    def __enter__(self: BarsType) -> BarsType:
        return self

    def __exit__(self, *details: object) -> None:
        self.close()

    def show(self, stage: str, done: int, total: int, words: str = "") -> None:
        """Shows how far a stage is, and words about it where there are new ones."""
        self.begin(stage, done, total)
        self.say(words)
        self.advance(done)

    def begin(self, stage: str, done: int, total: int) -> bool:
        """Ends the bar of another stage and begins this one's, of which ``done`` was just reached; whether it did."""
        if stage == self._stage:
            return False
        self.close()
        # Without a terminal a line is written now and then, for logs.
        interval = 0.5 if sys.stderr.isatty() else 60.0
        self._bar = tqdm(
            total=total, initial=max(done - 1, 0), desc=f"{stage:<{self._width}}", unit=self._unit, file=sys.stderr,
            mininterval=interval, maxinterval=2.0 * interval, dynamic_ncols=True,
        )  # fmt: skip
        self._stage = stage
        return True

    def advance(self, done: int) -> None:
        """Moves the bar."""
        self._bar.update(min(done, self._bar.total) - self._bar.n)

    def say(self, words: str) -> None:
        """Replaces the words behind the bar, unless there are none."""
        if words:
            self._bar.set_postfix_str(words, refresh=False)

    def close(self) -> None:
        """Ends the bar that is shown."""
        if self._bar is not None:
            self._bar.close()
        self._bar, self._stage = None, ""


class LossBars(Bars):
    """Bars of training updates, with the running mean of the loss."""

    def __init__(self) -> None:
        super().__init__("update", 12)
        self._loss = math.nan

    def __call__(self, stage: str, done: int, total: int, loss: float) -> None:
        """Shows an update of a stage."""
        if self.begin(stage, done, total):
            self._loss = math.nan
        self._loss = smoothed(self._loss, loss)
        self.say(f"loss {self._loss:.5f}")
        self.advance(done)

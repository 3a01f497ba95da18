"""The command line, called in this process: exit code, what it printed, and the run folder."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from control_stack.artefacts.record import FlightRecord, read_flight
from control_stack.cli import main

QUICK = ("fly", "--no-ros", "--backend", "analytic")


@dataclass
class Call:
    """What a call of the command line left."""

    code: int
    out: str
    err: str
    folder: Path

    @property
    def summary(self) -> dict[str, Any]:
        def refuse(text: str) -> None:
            raise ValueError(f"{text} is not JSON")

        return json.loads((self.folder / "summary.json").read_text(), parse_constant=refuse)  # type: ignore[no-any-return]

    @property
    def record(self) -> FlightRecord:
        return read_flight(self.folder / "flight.mcap", states="ground_truth")

    @property
    def events(self) -> list[str]:
        return [event["name"] for event in self.summary["events"]]


def call(*arguments: str, folder: Path) -> Call:
    """Runs the command line; ``folder`` is added as --out to a flight that names none."""
    if arguments and arguments[0] == "fly" and "--out" not in arguments:
        arguments = (*arguments, "--out", str(folder))
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = main(arguments)
        except SystemExit as end:
            code = int(end.code or 0)
    return Call(code, out.getvalue(), err.getvalue(), folder)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Call]:
    """run(*arguments) -> Call, in an empty working directory."""
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: call(*arguments, folder=tmp_path / "run")


@pytest.fixture
def fly(run: Callable[..., Call]) -> Callable[..., Call]:
    """fly(*options) -> Call, in process on the analytic simulator."""
    return lambda *options: run(*QUICK, *options)


@pytest.fixture(scope="session")
def eight(tmp_path_factory: pytest.TempPathFactory) -> Call:
    """The figure-eight of the benchmarks, flown once."""
    return call(*QUICK, folder=tmp_path_factory.mktemp("eight") / "run")


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """without(*modules): as if these were not installed."""
    honest = importlib.util.find_spec

    def hide(*modules: str) -> None:
        monkeypatch.setattr(
            importlib.util, "find_spec", lambda name, *rest: None if name in modules else honest(name, *rest)
        )

    return hide

"""``control-stack bench``: what cannot be used is said before anything is measured."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from control_stack.artefacts.tables import BenchRow
from control_stack.cli import bench


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The seeds that were measured with; stands in for minutes of measuring."""
    seeds: list[int] = []

    def measure(seed: int, quick: bool) -> list[BenchRow]:
        seeds.append(seed)
        return [BenchRow("test", "metric", 1.0, "s")]

    monkeypatch.setattr(bench, "_groups", lambda *given: {"group": measure})
    return seeds


@pytest.mark.parametrize(
    ("options", "fragment"),
    [
        (["--json", "."], "--json needs a file, got the folder ."),
        (["--json", ""], "--json needs a file, got an empty name"),
        (["--json", "nowhere/rows.json"], "there is no folder nowhere"),
        (["--json", "file/rows.json"], "there is no folder file"),
        (["--seed", "-1"], "--seed must be from 0 to 2147483647, got -1"),
        (["--seed", str(2**31)], "--seed must be from 0"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_refused_before_measuring(
    run: Callable, measured: list[int], tmp_path: Path, options: list[str], fragment: str
) -> None:
    (tmp_path / "file").write_text("")
    done = run("bench", "sim", *options)
    (line,) = done.err.splitlines()
    assert done.code == 2 and line.startswith("error: ") and fragment in line
    assert measured == [] and done.out == ""


def test_what_can_be_written_is_measured_and_written(run: Callable, measured: list[int], tmp_path: Path) -> None:
    assert run("bench", "sim", "--seed", "4", "--json", "rows.json").code == 0
    assert measured == [4] and (tmp_path / "rows.json").is_file()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["rows.json"]

"""docs/trajectories.md: its files and words are flown, its refusals read as written."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from control_stack.errors import ControlStackError
from control_stack.trajectories import parse_trajectory


@pytest.fixture
def files(page: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the page's two files."""
    path, points = page("trajectories").blocks("csv")
    (tmp_path / "path.csv").write_text(path, encoding="utf-8")
    (tmp_path / "points.csv").write_text(points, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("trajectory", ["path.csv", "waypoints:points.csv,speed=0.8"])
def test_the_files_of_the_page_are_flown(files: Path, fly: Callable, trajectory: str) -> None:
    flight = fly("--trajectory", trajectory, "--backend", "analytic")
    assert flight.code == 0 and flight.summary["landed_upright"] and flight.summary["completed"]
    assert flight.summary["position_rmse_m"] < 0.15


def test_words_and_their_defaults(page: Callable, files: Path) -> None:
    """What is in brackets is what happens when it is left out."""
    for row in page("trajectories").table("Trajectories"):
        text = row["trajectory"]
        short, full = re.sub(r"\[.*\]", "", text), text.replace("[", "").replace("]", "")
        a, b = parse_trajectory(short, (0, 0, 1)), parse_trajectory(full, (0, 0, 1))
        assert a.duration == b.duration
        for t in np.linspace(0.0, a.duration, 7):
            np.testing.assert_array_equal(a(t).position_w, b(t).position_w)


def test_the_file_passes_its_rows(files: Path) -> None:
    trajectory = parse_trajectory("path.csv")
    t, x, y, z, yaw = np.loadtxt("path.csv", delimiter=",", skiprows=1, unpack=True)
    for k, when in enumerate(t):
        reference = trajectory(when)
        np.testing.assert_allclose(reference.position_w, [x[k], y[k], z[k]], atol=1e-9)
        assert float(reference.yaw) == pytest.approx(yaw[k])


def test_refusals_read_as_written(
    page: Callable, files: Path, fly: Callable, capsys: pytest.CaptureFixture[str]
) -> None:
    section = page("trajectories").section("When one is refused")
    words, lines, slow = (part for part in section.split("\n\n") if part.startswith("|"))
    rows = [[c.strip().strip("`") for c in row.split("|")[1:-1]] for row in words.splitlines()[2:]]
    assert len(rows) == 5
    for text, message in rows:
        with pytest.raises(ControlStackError) as caught:
            parse_trajectory(text)
        assert str(caught.value) == message
    original = (files / "path.csv").read_text(encoding="utf-8").splitlines()
    rows = [[c.strip().strip("`") for c in row.split("|")[1:-1]] for row in lines.splitlines()[2:]]
    assert len(rows) == 6
    for number, changed, message in rows:
        spoilt = list(original)
        spoilt[int(number) - 1] = changed
        (files / "path.csv").write_text("\n".join(spoilt), encoding="utf-8")
        with pytest.raises(ControlStackError) as caught:
            parse_trajectory("path.csv")
        assert str(caught.value) == message
    rows = [[c.strip().strip("`") for c in row.split("|")[1:-1]] for row in slow.splitlines()[2:]]
    assert len(rows) == 2
    for text, message in rows:
        assert fly("--trajectory", text, "--backend", "analytic").code == 2
        assert capsys.readouterr().err == f"error: {message}\n"


def test_a_path_below_the_ground_is_refused_before_take_off(
    files: Path, fly: Callable, capsys: pytest.CaptureFixture[str]
) -> None:
    (files / "low.csv").write_text("x,y,z\n1,0,1\n1,1,-0.5\n0,0,1\n", encoding="utf-8")
    flight = fly("--trajectory", "waypoints:low.csv", "--backend", "analytic")
    assert flight.code == 2 and not flight.summary
    assert "below the ground" in capsys.readouterr().err


def test_the_python_block_runs(page: Callable) -> None:
    (code,) = page("trajectories").blocks("python")
    found: dict = {}
    exec(code, found)
    whole, there = found["whole"], found["there"]
    assert whole.duration == pytest.approx(there.duration + 2.0)
    speeds = [np.linalg.norm(whole(t).velocity_w) for t in np.linspace(0.0, whole.duration, 300)]
    assert 0.79 < max(speeds) < 0.805  # peaks are found on a grid

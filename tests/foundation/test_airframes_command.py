"""control-stack airframes, as a user types it."""

from __future__ import annotations

import numpy as np
import pytest

from control_stack.cli.main import main
from control_stack.foundation.airframes import LAWS, sample
from control_stack.foundation.quantities import read_csv


def airframes(*options: object) -> int:
    try:
        return main(["airframes", *map(str, options)])
    except SystemExit as end:
        return int(end.code or 0)


@pytest.mark.parametrize("law", list(LAWS))
def test_a_sample_is_the_laws_own_draw(tmp_path, capsys, law):
    assert airframes("sample", "--law", law, "--count", 40, "--seed", 3, "--out", tmp_path / "a.csv") == 0
    assert "40 airframes" in capsys.readouterr().out
    expected = sample(LAWS[law], 40, np.random.default_rng(3)).columns
    assert np.array_equal(read_csv(tmp_path / "a.csv").columns, expected)


def test_show_tells_ranges_and_quantiles_of_a_law(capsys):
    assert airframes("show", "wide", "--count", 500) == 0
    out = capsys.readouterr().out
    assert "velocity_delay" in out and "0.000 .. 0.08000" in out and "median" in out


@pytest.mark.parametrize(("name", "ratio"), [("raptor-crazyflie", "1.468"), ("crazyflie", "kg")])
def test_show_tells_the_same_quantities_of_one_vehicle(capsys, name, ratio):
    assert airframes("show", name) == 0
    out = capsys.readouterr().out
    assert ratio in out and "torque/inertia" in out


def test_plot_draws_a_picture(tmp_path, capsys):
    assert airframes("plot", "--count", 200, "--out", tmp_path / "laws.png") == 0
    assert (tmp_path / "laws.png").read_bytes().startswith(b"\x89PNG") and "200" in capsys.readouterr().out


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("sample",),
        ("sample", "--out", "no/a.csv"),
        ("sample", "--out", "a.csv", "--law", "narrow"),
        ("sample", "--out", "a.csv", "--count", 0),
        ("sample", "--out", "a.csv", "--count", "many"),
        ("sample", "--out", "a.csv", "--seed", -1),
        ("show", "zeppelin"),
        ("show", "no.yaml"),
        ("plot", "--out", "."),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(tmp_path, monkeypatch, capsys, options):
    monkeypatch.chdir(tmp_path)
    assert airframes(*options) == 2
    assert capsys.readouterr().err.count("\n") == 1 and not list(tmp_path.iterdir())

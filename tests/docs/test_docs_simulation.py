"""docs/simulation.md: its block flies, its tables are the presets, tolerances and calls of the code."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from control_stack.quadrotor.parameters import GRAVITY
from sim.quadrotor import EXTERNAL_POSE_TIMEOUT, SimulatedQuadrotor
from sim.sensors import PRESETS
from sim.wind import INTENSITIES, KNOT, parse_wind

ROOT = Path(__file__).resolve().parents[2]
COLUMNS = {
    "position m": "position_std",
    "velocity m/s": "velocity_std",
    "attitude rad": "attitude_std",
    "body rates rad/s": "rate_std",
    "delay s": "delay",
    "dropout": "dropout",
}


@pytest.mark.parametrize("backend", ["analytic", "bullet"])
def test_the_python_block_flies(page: Callable, backend: str) -> None:
    if backend == "bullet":
        pytest.importorskip("pybullet")
    (code,) = page("simulation").blocks("python")
    assert len([line for line in code.splitlines() if line.strip()]) <= 17
    code = code.replace('"analytic"', f'"{backend}"')
    ending = "print(vehicle.state().position_w, vehicle.wind_w)"
    assert ending in code
    found: dict = {}
    exec(code.replace(ending, "position, wind = vehicle.state().position_w, vehicle.wind_w"), found)
    np.testing.assert_allclose(found["position"], [0.0, 0.0, 1.0], atol=0.15)
    assert np.linalg.norm(found["wind"] - [1.0, 0.0, 0.0]) > 0.1  # it gusts


def test_sensor_presets(page: Callable) -> None:
    rows = {row["preset"]: row for row in page("simulation").table("Sensors")}
    assert set(rows) == set(PRESETS)
    for name, preset in PRESETS.items():
        assert {key: float(rows[name][column]) for column, key in COLUMNS.items()} == asdict(preset)
    assert f"none came for {EXTERNAL_POSE_TIMEOUT:g} s" in page("simulation").text


def test_wind_texts(page: Callable) -> None:
    rows = {row["text"]: row["what"] for row in page("simulation").table("Wind")}
    for text in rows:
        wind = parse_wind(text)
        assert (wind.wind_20ft > 0.0) == ("dryden" in text) and (wind.steady_w == (2.0, 0.0, 0.0)) == ("2,0,0" in text)
    knots = {name: round(speed / KNOT) for name, speed in INTENSITIES.items()}
    light = rows["dryden:light"]
    assert re.findall(r"\d+(?= knots)", light) == [str(knots["light"])]
    assert f"moderate {knots['moderate']}, severe {knots['severe']}" in light


def test_tolerances_are_those_of_the_agreement_test(page: Callable) -> None:
    """The page may not promise what the test does not hold."""
    source = (ROOT / "tests" / "sim" / "test_agreement.py").read_text(encoding="utf-8")
    source = source.partition('"""\n\nfrom')[2]
    asserted = re.findall(r"atol=([\d.e-]+)\)", source), re.findall(r"radians\(([\d.]+)\)", source)
    for k, row in enumerate(page("simulation").table("How well they agree")):
        shown = [float(row[column].split()[0]) / 1000.0 for column in ("position", "velocity")]
        assert shown == pytest.approx([float(v) for v in asserted[0][2 * k : 2 * k + 2]])
        assert float(row["attitude"].split()[0]) == float(asserted[1][k])


def test_calls_exist_with_these_arguments(page: Callable) -> None:
    import inspect

    for row in page("simulation").table("From Python"):
        for name, arguments in re.findall(r"(\w+)\(([\w, ]*)\)", row["call"] + row["what it does"]):
            method = getattr(SimulatedQuadrotor, name)
            assert [a for a in arguments.split(", ") if a] == list(inspect.signature(method).parameters)[1:]
    assert isinstance(SimulatedQuadrotor.time, property) and isinstance(SimulatedQuadrotor.wind_w, property)
    assert f"gravity {GRAVITY} m/s^2" in page("simulation").text

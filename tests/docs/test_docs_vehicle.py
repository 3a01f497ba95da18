"""docs/bring_your_own_vehicle.md: the example file flies, the rules hold, errors read as written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml

from control_stack.errors import ControlStackError
from control_stack.laws.allocation import RESPONSE_TIME
from control_stack.quadrotor import parameters as vehicle_file
from control_stack.quadrotor.parameters import load_vehicle, parse_vehicle, vehicle_names


@pytest.fixture
def example(page: Callable) -> str:
    (text,) = page("bring_your_own_vehicle").blocks("yaml")
    return text


@pytest.mark.parametrize(
    ("backend", "trajectory"),
    [("analytic", "hover:duration=3"), ("analytic", "eight:laps=1"), ("bullet", "eight:laps=1")],
)
def test_the_example_flies(example: str, fly: Callable, tmp_path: Path, backend: str, trajectory: str) -> None:
    if backend == "bullet":
        pytest.importorskip("pybullet")
    (tmp_path / "my_quad.yaml").write_text(example, encoding="utf-8")
    flight = fly("--vehicle", "my_quad.yaml", "--backend", backend, "--trajectory", trajectory)
    assert flight.code == 0 and flight.summary["landed_upright"] and flight.summary["completed"]
    # A hover counts from the hand-over on, when the policy does not know the vehicle yet; an eight its laps.
    assert flight.summary["position_rmse_m"] < (0.05 if trajectory.startswith("hover") else 0.03)


def test_every_key_is_described_with_its_unit_and_shape(page: Callable) -> None:
    rows = {row["key"]: row for row in page("bring_your_own_vehicle").table("Key by key")}
    assert set(rows) == set(vehicle_file._SCHEMA)
    for key, (unit, shape) in vehicle_file._SCHEMA.items():
        assert rows[key]["unit"] == unit
        assert rows[key]["shape"] == (" x ".join(map(str, shape)) or "1")
        assert ("may be left out" in rows[key]["what it is"]) == (key in vehicle_file._OPTIONAL)


def test_gains_follow_the_rules(example: str) -> None:
    for vehicle in (*map(load_vehicle, vehicle_names()), parse_vehicle(example, "example")):
        slowest = min(max(*vehicle.rise_time, *vehicle.fall_time), RESPONSE_TIME)
        gains = vehicle.gains
        assert np.all(gains.rate[:2] <= 1.0 / (2.0 * slowest))
        for low, ratio, high in (
            (0.33, gains.attitude / gains.rate, 0.5),
            (0.4, gains.velocity / gains.attitude, 0.6),
            (0.25, gains.position / gains.velocity**2, 0.4),
        ):
            assert np.all((low <= ratio[:2]) & (ratio[:2] <= high)), vehicle.name
        assert gains.rate[2] == pytest.approx(gains.rate[0] / 3.0, rel=0.15)
        assert gains.attitude[2] == pytest.approx(gains.attitude[0] / 3.0, rel=0.15)


def test_refusals_read_as_written(page: Callable, example: str) -> None:
    for row in page("bring_your_own_vehicle").table("When a file is refused"):
        document = yaml.safe_load(example) | {row["key"]: yaml.safe_load(row["changed to"])}
        with pytest.raises(ControlStackError) as caught:
            parse_vehicle(yaml.safe_dump(document), "my_quad.yaml")
        assert str(caught.value) == row["message"]


def test_the_fit_gives_the_curve_of_the_example(page: Callable, example: str) -> None:
    (code,) = page("bring_your_own_vehicle").blocks("python")
    found: dict[str, float] = {}
    exec(code.replace("print", "out = tuple"), found)
    w = np.linspace(400.0, 2600.0, 20)
    stated = yaml.safe_load(example)["thrust_curve"]["value"]
    fitted, shown = (np.polynomial.polynomial.polyval(w, c) for c in (found["out"], stated))
    np.testing.assert_allclose(fitted, shown, rtol=0.01)

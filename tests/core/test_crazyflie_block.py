"""The optional crazyflie: block of a vehicle file: whole and sane, or refused by the name of what is wrong."""

from __future__ import annotations

from importlib import resources

import pytest
import yaml

from control_stack.errors import InvalidInput, UnknownName
from control_stack.quadrotor.parameters import parse_vehicle


@pytest.fixture
def data() -> dict:
    text = (resources.files("control_stack") / "vehicles" / "crazyflie.yaml").read_text(encoding="utf-8")
    return yaml.safe_load(text)


def parse(data: dict):
    return parse_vehicle(yaml.safe_dump(data), "mine.yaml")


def test_it_may_be_left_out(data: dict) -> None:
    assert parse(data).crazyflie is not None
    del data["crazyflie"]
    assert parse(data).crazyflie is None


@pytest.mark.parametrize("key", ["full_scale", "linear", "quadratic", "compensated"])
def test_what_is_missing_is_named(data: dict, key: str) -> None:
    del data["crazyflie"][key]
    with pytest.raises(InvalidInput, match=f"mine.yaml: crazyflie: '{key}' is missing"):
        parse(data)


def test_unknown_keys_units_and_curves_are_refused(data: dict) -> None:
    data["crazyflie"]["full_scale"]["unit"] = "g"
    with pytest.raises(InvalidInput, match="'full_scale' must be in 'N'"):
        parse(data)
    data["crazyflie"]["full_scale"].update(unit="N", value=-1.0)
    with pytest.raises(InvalidInput, match="full_scale"):
        parse(data)
    data["crazyflie"]["pwm"] = 1
    with pytest.raises(UnknownName, match="pwm"):
        parse(data)

"""Newtons and PX4's normalised thrust: inverse of each other, anchored at hover, linear where the model is right."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_stack.errors import InvalidInput, UnknownName
from control_stack.px4.thrust import PX4Thrust
from control_stack.quadrotor.parameters import GRAVITY, load_vehicle, parse_vehicle

WEIGHT = 20.0  # N
shares = st.floats(0.0, 1.0)
scales = st.builds(PX4Thrust, st.floats(0.1, 0.9), shares, shares)


@given(scales, shares)
def test_setpoint_to_newtons_and_back(scale: PX4Thrust, setpoint: float):
    assert scale.normalised(scale.newtons(setpoint, WEIGHT), WEIGHT) == pytest.approx(setpoint, abs=1e-9)


@given(scales, shares)
def test_newtons_to_setpoint_and_back(scale: PX4Thrust, part: float):
    thrust = part * scale.newtons(1.0, WEIGHT)
    assert scale.newtons(scale.normalised(thrust, WEIGHT), WEIGHT) == pytest.approx(thrust, abs=1e-9 * WEIGHT)


@given(scales)
def test_hover_thrust_carries_the_weight(scale: PX4Thrust):
    assert scale.newtons(scale.hover_thrust, WEIGHT) == pytest.approx(WEIGHT, rel=1e-12)
    assert scale.normalised(WEIGHT, WEIGHT) == pytest.approx(scale.hover_thrust, rel=1e-12)


@given(st.floats(0.1, 0.9), shares, shares)
def test_linear_where_the_motors_are_as_thr_mdl_fac_says(hover: float, factor: float, setpoint: float):
    scale = PX4Thrust(hover, factor, factor)
    assert scale.newtons(setpoint, WEIGHT) == pytest.approx(WEIGHT * setpoint / hover, abs=1e-9)


def test_quadratic_motors_under_an_untuned_model():
    """f = 0, k = 1: the setpoint is the signal, thrust its square."""
    scale = PX4Thrust(0.5, 0.0, 1.0)
    assert scale.newtons(1.0, WEIGHT) == pytest.approx(4.0 * WEIGHT)
    assert scale.newtons(0.25, WEIGHT) == pytest.approx(WEIGHT / 4.0)


@given(scales, shares, shares)
def test_more_setpoint_is_never_less_thrust(scale: PX4Thrust, a: float, b: float):
    low, high = sorted((a, b))
    assert scale.newtons(low, WEIGHT) <= scale.newtons(high, WEIGHT) + 1e-9


@given(scales)
def test_ends_are_kept(scale: PX4Thrust):
    assert scale.normalised(-5.0, WEIGHT) == 0.0 == scale.newtons(-1.0, WEIGHT)
    assert scale.normalised(1e9, WEIGHT) == pytest.approx(1.0)
    assert scale.newtons(2.0, WEIGHT) == scale.newtons(1.0, WEIGHT)


@pytest.mark.parametrize("values", [(0.0, 0.5, 0.5), (1.0, 0.5, 0.5), (0.5, -0.1, 0.5), (0.5, 0.5, 1.1)])
def test_impossible_scales_are_refused(values: tuple[float, float, float]):
    with pytest.raises(InvalidInput):
        PX4Thrust(*values)


def test_the_x500s_scale_agrees_with_its_own_rotors():
    """Full signal is full rotor speed: both of the file's descriptions of thrust must meet there."""
    p = load_vehicle("x500")
    assert p.px4 is not None
    assert p.px4.newtons(1.0, float(p.mass) * GRAVITY) == pytest.approx(p.max_thrust, rel=0.01)


def _x500_with(block: str) -> str:
    from importlib import resources

    text = (resources.files("control_stack") / "vehicles" / "x500.yaml").read_text(encoding="utf-8")
    return text[: text.index("px4:")] + block


def test_the_block_is_optional_and_checked():
    assert parse_vehicle(_x500_with(""), "a.yaml").px4 is None
    with pytest.raises(InvalidInput, match="a.yaml: px4 must be a mapping of hover_thrust"):
        parse_vehicle(_x500_with("px4: 3"), "a.yaml")
    with pytest.raises(InvalidInput, match="a.yaml: px4: 'hover_thrust' is missing"):
        parse_vehicle(_x500_with("px4: {}"), "a.yaml")
    with pytest.raises(UnknownName, match="unknown key in a.yaml: px4 'gain'"):
        parse_vehicle(_x500_with("px4: {gain: 1}"), "a.yaml")

"""The Crazyflie's thrust command: both ways, at every battery voltage, with and without the firmware's compensation."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_stack.crazyflie.thrust import COMMAND_SPAN, CrazyflieThrust
from control_stack.errors import InvalidInput
from control_stack.quadrotor.parameters import GRAVITY, load_vehicle

FULL = load_vehicle("crazyflie").crazyflie
RAW = replace(FULL, compensated=0.0)
GRAM_FORCE = 1e-3 * GRAVITY


@given(thrust=st.floats(0.0, 0.5), supply=st.floats(3.3, 4.2), compensated=st.booleans())
def test_thrust_survives_the_wire(thrust: float, supply: float, compensated: bool) -> None:
    """To half a step of the command, where the battery can give it (0.5 N need 2.9 V at the motors)."""
    law = FULL if compensated else RAW
    back = law.thrust(law.command(thrust, supply), supply)
    # Half a step, by the slope of thrust over the command; the steepest is at the top of the voltage curve.
    slope = law.full_scale if compensated else supply / (law.linear + 2.0 * law.quadratic * 0.51)
    assert back == pytest.approx(thrust, abs=0.51 * slope / COMMAND_SPAN)


@given(command=st.integers(0, 60000), supply=st.floats(3.3, 4.2), compensated=st.booleans())
def test_a_command_survives_the_way_round(command: int, supply: float, compensated: bool) -> None:
    law = FULL if compensated else RAW
    thrust = law.thrust(command, supply)
    if thrust < law.thrust(COMMAND_SPAN - 1, supply) - 1e-9:  # below what the battery gives at most
        assert law.command(thrust, supply) == command


def test_sixty_grams_are_the_full_scale_and_the_battery_does_not_matter() -> None:
    """Bitcraze's motors.c: a command of 65536 is 60 gram-force, compensated from 2 V on."""
    assert FULL.command(30.0 * GRAM_FORCE, 3.7) == pytest.approx(32768, abs=5)
    assert FULL.command(0.2, 3.3) == FULL.command(0.2, 4.2)


@pytest.mark.parametrize("grams", [10.0, 26.5, 45.0, 60.0])
@pytest.mark.parametrize("supply", [3.3, 3.7, 4.2])
def test_without_compensation_the_command_is_the_duty_cycle(grams: float, supply: float) -> None:
    """volts = 0.088 T - 0.0006239 T^2, T in gram-force; the duty cycle is volts over the battery's."""
    duty = (0.088 * grams - 0.0006239 * grams**2) / supply
    assert RAW.command(grams * GRAM_FORCE, supply) == pytest.approx(COMMAND_SPAN * min(duty, 1.0), abs=3)


def test_an_empty_battery_limits_what_comes_out() -> None:
    full = [FULL.thrust(COMMAND_SPAN - 1, supply) for supply in (4.2, 3.7, 3.0, 2.5)]
    assert full[0] == full[1] == pytest.approx(FULL.full_scale, rel=1e-4)
    assert full[1] > full[2] > full[3]
    # What is left is what the motors' curve gives at that voltage.
    assert FULL.linear * full[3] + FULL.quadratic * full[3] ** 2 == pytest.approx(2.5)


def test_a_broken_voltage_reading_is_not_compensated() -> None:
    """Below 2 V the firmware passes the command on as duty cycle."""
    assert FULL.command(0.1, 1.9) == RAW.command(0.1, 1.9) != FULL.command(0.1, 2.0)


@given(st.floats(-1e6, 1e6), st.floats(0.0, 5.0))
def test_commands_stay_in_their_16_bits_and_rise_with_thrust(thrust: float, supply: float) -> None:
    for law in (FULL, RAW):
        number = law.command(thrust, supply)
        assert 0 <= number < COMMAND_SPAN
        assert law.command(thrust + 0.01, supply) >= number


@pytest.mark.parametrize(("key", "value"), [("full_scale", 0.0), ("linear", -1.0), ("quadratic", -9.0)])
def test_curves_that_no_motor_has_are_refused(key: str, value: float) -> None:
    with pytest.raises(InvalidInput, match="crazyflie"):
        replace(FULL, **{key: value})


def test_a_straight_curve_is_inverted_too() -> None:
    straight = CrazyflieThrust(0.6, 8.0, 0.0, 0.0)
    assert straight.thrust(straight.command(0.3, 4.0), 4.0) == pytest.approx(0.3, abs=1e-4)

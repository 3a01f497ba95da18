"""Flight logs as data for a residual: what is read is what was flown, and what cannot be learnt from is refused."""

from __future__ import annotations

import numpy as np
import pytest
from residual_toys import DT, VEHICLE, draggy, flight, write_log

from control_stack.errors import InvalidInput
from control_stack.learning.flight_data import read_log
from control_stack.quadrotor.parameters import load_vehicle
from control_stack.types import CommandLevel

CTBR = CommandLevel.CTBR
STATES, INPUTS = flight(draggy()[0], seconds=3.0)


def read(folder, level=CTBR, vehicle=VEHICLE, wind=None):
    return read_log(folder, load_vehicle(vehicle), level, wind)


def test_states_and_commands_come_back_as_they_were_flown(tmp_path):
    log = read(write_log(tmp_path / "run", STATES, INPUTS, config={"wind": "2,-1,0+dryden:5", "seed": "4"}))
    (stretch,) = log.stretches
    assert log.dt == pytest.approx(DT) and log.about["wind"] == "2,-1,0+dryden:5" and log.about["seed"] == "4"
    np.testing.assert_allclose(stretch.states, STATES[: len(INPUTS)], atol=1e-9)
    np.testing.assert_allclose(stretch.inputs, INPUTS[:-1], atol=1e-6)
    np.testing.assert_array_equal(stretch.wind_w, [2.0, -1.0, 0.0])  # of gusts nothing is known
    given = read(tmp_path / "run", wind=np.array([1.0, 0.0, 0.0]))
    np.testing.assert_array_equal(given.stretches[0].wind_w, [1.0, 0.0, 0.0])


def test_a_command_that_changes_within_a_step_counts_by_its_share_of_it(tmp_path):
    log = read(write_log(tmp_path / "run", STATES, INPUTS, early=0.5 * DT))
    inputs = log.stretches[0].inputs
    np.testing.assert_allclose(inputs, 0.5 * (INPUTS[: len(inputs)] + INPUTS[1 : len(inputs) + 1]), atol=1e-6)


def test_a_gap_parts_a_flight_and_nothing_is_made_up_for_it(tmp_path):
    times = DT * np.arange(len(STATES))
    times[150:] += 0.5
    log = read(write_log(tmp_path / "run", STATES, INPUTS, times=times))
    assert [len(s.inputs) for s in log.stretches] == [149, len(INPUTS) - 151]
    np.testing.assert_allclose(log.stretches[1].states[0], STATES[150], atol=1e-9)


def with_nan(states, inputs):
    states[120, 4] = np.nan


def with_nan_command(states, inputs):
    inputs[130, 3] = np.nan


@pytest.mark.parametrize(
    ("spoil", "said"), [(with_nan, "velocity is not finite at 1.2"), (with_nan_command, "1 of its messages")]
)
def test_nan_is_refused_with_its_time(tmp_path, spoil, said):
    states, inputs = STATES.copy(), INPUTS.copy()
    spoil(states, inputs)
    with pytest.raises(InvalidInput, match=said):
        read(write_log(tmp_path / "run", states, inputs))


def test_irregular_time_is_refused_with_the_first_place(tmp_path):
    times = np.cumsum(DT * np.random.default_rng(0).uniform(0.2, 1.8, len(STATES)))
    with pytest.raises(InvalidInput, match="irregular time: states come 0.01"):
        read(write_log(tmp_path / "run", STATES, INPUTS, times=times))


def test_logs_of_another_vehicle_level_or_kind_are_refused(tmp_path):
    folder = write_log(tmp_path / "run", STATES, INPUTS)
    with pytest.raises(InvalidInput, match="a flight of 'x500', not of 'crazyflie'"):
        read(folder, vehicle="crazyflie")
    with pytest.raises(InvalidInput, match="no rotor speeds"):
        read(folder, level=CommandLevel.ROTORS)
    with pytest.raises(InvalidInput, match="does not exist|cannot read"):
        read(tmp_path / "nothing.mcap")
    (tmp_path / "text.mcap").write_text("t,x,y,z\n")
    with pytest.raises(InvalidInput, match="not an MCAP log"):
        read(tmp_path / "text.mcap")
    short = write_log(tmp_path / "short", STATES[:12], INPUTS[:11])
    with pytest.raises(InvalidInput, match="no stretch"):
        read(short)

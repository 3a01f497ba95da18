"""The side that owns the vehicle: what reaches it, and what becomes of what it refuses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from control_stack.errors import IncompatibleLevels, InputRejected, InvalidInput
from control_stack.flight.advance import ComputeDelay
from control_stack.flight.vehicle_side import VehicleSide
from control_stack.protocols import VehicleSpec
from control_stack.safety.events import Phase
from control_stack.safety.supervisor import SafetyConfig
from control_stack.trajectories import Hover
from control_stack.types import CommandLevel, RotorCommand


def test_motors_stand_still_until_take_off(rig: Callable) -> None:
    """The controller's commands come from the first period on, and 'armed' alone turns nothing."""
    flight = rig()
    flight.fly(0.5)
    assert np.all(flight.truth.rotor_speed == 0.0) and flight.side.sent is None
    assert flight.side.supervisor.arm(flight.t, flight.side.state).accepted
    flight.fly(1.0)
    assert flight.phase is Phase.ARMED and np.all(flight.truth.rotor_speed == 0.0)
    assert flight.side.supervisor.disarm(flight.t).accepted


def test_sent_is_what_the_vehicle_really_did(rig: Callable) -> None:
    flight = rig(change=lambda t, state, command: RotorCommand(command.rotor_speed + 1e4 * (t > 3.5)))
    flight.controllers.setpoints.follow(Hover((0.0, 0.0, 1.0145)))
    flight.take_off()
    flight.fly(3.6 - flight.t)
    assert np.array_equal(flight.side.sent.rotor_speed, flight.parameters.rotor_speed_max)


def test_commands_are_stamped_with_the_vehicles_time(rig: Callable) -> None:
    flight = rig(change=lambda t, state, command: replace(command, stamp=123.0))
    flight.controllers.setpoints.follow(Hover((0.0, 0.0, 1.0145)))
    flight.take_off()
    flight.fly(0.5)
    stamps = [sent.stamp for sent in flight.memory.sent[-20:]]
    assert stamps == pytest.approx(flight.memory.t[-20:])


def test_a_level_that_the_vehicle_does_not_list_is_refused_and_counted(rig: Callable) -> None:
    flight = rig()
    flight.vehicle._spec = VehicleSpec("x", (CommandLevel.POSITION, CommandLevel.ATTITUDE), 100.0)
    with pytest.raises(InputRejected, match="level: rotors, but x declares"):
        flight.side.receive(0.0, RotorCommand(np.zeros(4)))
    assert flight.side.rejections.counts == {"command/level": 1}


def test_a_vehicle_without_the_supervisors_levels_is_refused_on_the_ground(rig: Callable) -> None:
    flight = rig()
    flight.vehicle._spec = VehicleSpec("bare", (CommandLevel.ROTORS,), 100.0)
    with pytest.raises(IncompatibleLevels, match="'bare' accepts rotors"):
        VehicleSide(flight.vehicle, flight.parameters, SafetyConfig())


def test_a_vehicle_that_breaks_its_contract_in_flight_is_landed(rig: Callable) -> None:
    """It refuses rotor commands that passed the boundary; its own position loop still works."""
    flight = rig()
    flight.controllers.setpoints.follow(Hover((0.0, 0.0, 1.0145)))
    flight.take_off()
    flight.fly(0.5)
    honest = flight.vehicle.send

    def send(command):
        if command.level is CommandLevel.ROTORS:
            raise InputRejected("mood", "not today")
        return honest(command)

    flight.vehicle.send = send
    flight.until(Phase.DISARMED)
    flight.fly(0.2)
    assert flight.side.rejections.counts == {"command/mood": 1}
    flight.assert_landed(np.zeros(3))


@pytest.mark.parametrize("delay", [("sometimes", 0.0), ("fixed", -0.01), ("fixed", float("nan"))])
def test_a_compute_delay_that_means_nothing_is_refused(delay: tuple[str, float]) -> None:
    with pytest.raises(InvalidInput):
        ComputeDelay(*delay)


def test_a_delay_longer_than_the_period_counts_as_one_period(rig: Callable) -> None:
    flights = [rig(delay=ComputeDelay("fixed", delay)) for delay in (0.01, 0.5)]
    for flight in flights:
        flight.controllers.setpoints.follow(Hover((0.0, 0.0, 1.0145)))
        flight.take_off()
        flight.fly(0.5)
    assert np.array_equal(flights[0].memory.positions(), flights[1].memory.positions())


def test_two_flights_of_one_vehicle(rig: Callable) -> None:
    """The second take-off is from where the first landed; nothing of the first flight is left."""
    flight = rig()
    flight.controllers.setpoints.follow(Hover((0.8, 0.0, 1.2)))
    flight.take_off()
    flight.fly(4.0)
    flight.land()
    flight.assert_landed(np.array([0.8, 0.0, 0.0]))
    flight.take_off()
    flight.fly(2.0)
    assert np.linalg.norm(flight.truth.position_w - [0.8, 0.0, 1.0145]) < 0.05
    flight.land()
    flight.assert_landed(np.array([0.8, 0.0, 0.0]))

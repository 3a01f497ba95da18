"""The example of docs/bring_your_own_controller.md flies."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from control_stack.quadrotor.parameters import load_vehicle
from control_stack.trajectories import Hover, Lissajous
from control_stack.types import CommandLevel
from controllers.loader import build_controller

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "my_controller.py"


@pytest.mark.parametrize("vehicle", ["crazyflie", "racer", "x500"])
def test_holds_hover_and_follows_the_eight(vehicle, flight_loop):
    parameters = load_vehicle(vehicle)
    controller = build_controller(f"{EXAMPLE}:MyController", parameters, list(CommandLevel))
    assert controller.level is CommandLevel.ATTITUDE
    x0 = flight_loop.start_state(parameters, [0.5, -0.5, 1.5])
    flight = flight_loop.fly(controller, Hover([0, 0, 1]), 6.0, vehicle, x0=x0)
    np.testing.assert_allclose(flight.states[-1, :3], [0, 0, 1], atol=0.01)
    eight = Lissajous(laps=1)
    assert flight_loop.fly(controller, eight, eight.duration, vehicle).rmse() < 0.15


def test_is_as_short_as_the_document_says():
    body = EXAMPLE.read_text(encoding="utf-8").partition("class MyController")[2]
    assert len([line for line in body.splitlines() if line.strip()]) <= 20

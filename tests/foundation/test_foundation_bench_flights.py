"""Flights of ``bench foundation`` in PyBullet: what is done to the vehicle is felt; giving up is no figure."""

from __future__ import annotations

import importlib
import math
from pathlib import Path

import pytest

from control_stack.errors import InputRejected
from control_stack.quadrotor.parameters import load_vehicle
from control_stack.types import CommandLevel
from controllers.geometric import GeometricController

pytest.importorskip("pybullet")

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def flights(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(ROOT))
    return importlib.import_module("benchmarks.foundation_flights")


def test_every_disturbance_costs_precision(flights):
    vehicle, build = load_vehicle("x500"), flights.at_rotors(GeometricController)
    error = {name: flights.fly(build, vehicle, "hover", case, 0) for name, case in flights.CASES.items()}
    calm = error.pop("undisturbed")
    assert calm < 0.01 and len(error) == 3
    assert all(5.0 * calm < e < 0.5 for e in error.values()), error


class GivesUp(GeometricController):
    """Flies for a second."""

    def __call__(self, t, state, reference):
        if t > 1.0:
            raise InputRejected("nan")
        return super().__call__(t, state, reference)


def test_a_controller_that_gives_up_has_no_figure(flights):
    vehicle = load_vehicle("crazyflie")
    assert math.isnan(flights.fly(flights.at_rotors(GivesUp), vehicle, "hover", flights.Case(), 0))
    assert flights.at_rotors(GivesUp)(vehicle).level is CommandLevel.ROTORS

"""docs/frames.md: its hand values are what the converters give, its sketch is how the vehicles are built."""

from __future__ import annotations

import ast
from collections.abc import Callable

import numpy as np
import pytest

from control_stack import frames
from control_stack.quadrotor.parameters import load_vehicle, vehicle_names

CORNERS = {"front right": (1, -1), "back right": (-1, -1), "back left": (-1, 1), "front left": (1, 1)}


def test_hand_values(page: Callable) -> None:
    rows = page("frames").table("Hand values")
    for row in rows:
        takes, gives = (np.array(ast.literal_eval(row[column]), float) for column in ("takes", "gives"))
        found = getattr(frames, row["converter"])(takes)
        # Figures of the page are rounded to four places; degrees come from rad, 57 times larger.
        scale = 60.0 if "degrees" in row["converter"] else 1.0
        np.testing.assert_allclose(found, gives, rtol=0, atol=1e-4 * scale, err_msg=str(row))
    public = {name for name in vars(frames) if "_from_" in name and not name.startswith("_")}
    shown = {row["converter"] for row in rows}
    # Each direction that is not shown is the inverse of one that is.
    for name in public - shown:
        a, _, b = name.partition("_from_")
        assert f"{b}_from_{a}" in public and f"{b}_from_{a}" in shown, f"{name} has no worked example"


def test_sketch_shows_each_rotor_in_its_corner(page: Callable) -> None:
    (sketch,) = page("frames").blocks("")
    lines = sketch.splitlines()
    middle = next(i for i, line in enumerate(lines) if "+" in line)
    axis = lines[middle].index("+")
    seen = {}
    for row, line in enumerate(lines):
        for column, mark in enumerate(line):
            if mark.isdigit():
                turns = line[column + 1 :].split()[0]
                seen[int(mark)] = (np.sign(middle - row), np.sign(axis - column), turns)
    assert set(seen) == {0, 1, 2, 3}
    for name in vehicle_names():
        vehicle = load_vehicle(name)
        for rotor, (forward, left, turns) in seen.items():
            assert tuple(np.sign(vehicle.rotor_position[rotor][:2])) == (forward, left)
            assert vehicle.rotor_spin[rotor] == {"cw": 1, "ccw": -1}[turns]


@pytest.mark.parametrize("name", vehicle_names())
def test_rotor_table(page: Callable, name: str) -> None:
    vehicle = load_vehicle(name)
    for i, row in enumerate(page("frames").table("Rotors")):
        assert row["here"] == f"rotor_{i}"
        assert tuple(np.sign(vehicle.rotor_position[i][:2])) == CORNERS[row["place"]]
        turns = row["turns (shipped vehicles, from above)"]
        assert vehicle.rotor_spin[i] == {"clockwise": 1, "counter-clockwise": -1}[turns]
        assert row["PX4 quad x"] == f"motor {frames.PX4_MOTOR_OF_ROTOR[i] + 1}"
        assert row["Crazyflie"] == f"M{frames.CRAZYFLIE_MOTOR_OF_ROTOR[i] + 1}"

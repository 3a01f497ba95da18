"""Airframes in the quantities that tell how they fly: for tables, files and pictures."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np

from control_stack.foundation.airframes import Airframes, Conditions
from control_stack.quadrotor.parameters import QuadrotorParameters
from control_stack.types import Array


def _curve_shape(airframes: Airframes) -> Array:
    a = airframes.airframe
    return np.stack(a.thrust_c2).mean(0) / airframes.max_thrust.mean(-1)


def _spread(airframes: Airframes) -> Array:
    thrust = airframes.max_thrust
    return 100.0 * thrust.std(-1) / thrust.mean(-1)


def _offset(airframes: Airframes) -> Array:
    a = airframes.airframe
    return 100.0 * np.hypot(np.stack(a.rotor_x).mean(0), np.stack(a.rotor_y).mean(0)) / airframes.arm


# (name, unit) -> value (N,)
QUANTITIES: dict[tuple[str, str], Callable[[Airframes], Array]] = {
    ("thrust/weight", "1"): lambda a: a.thrust_to_weight,
    ("mass", "kg"): lambda a: a.airframe.mass,
    ("torque/inertia", "rad/s^2"): lambda a: a.torque_to_inertia,
    ("arm", "m"): lambda a: a.arm,
    ("hover speed", "1"): lambda a: a.hover_speed,
    ("torque constant", "m"): lambda a: np.stack(a.airframe.torque_constant).mean(0),
    ("rise time", "s"): lambda a: np.stack(a.airframe.rise_time).mean(0),
    ("fall time", "s"): lambda a: np.stack(a.airframe.fall_time).mean(0),
    ("quadratic share of thrust", "1"): _curve_shape,
    ("Jyy/Jxx", "1"): lambda a: a.airframe.inertia[1] / a.airframe.inertia[0],
    ("Jzz/Jxx", "1"): lambda a: a.airframe.inertia[2] / a.airframe.inertia[0],
    ("thrust spread of motors", "%"): _spread,
    ("centre of mass off", "% of arm"): _offset,
    ("drag/mass", "1/s"): lambda a: a.airframe.drag[0] / a.airframe.mass,
}

# Quantities of an episode, given airframes and conditions.
CONDITIONS: dict[tuple[str, str], Callable[[Airframes, Conditions], Array]] = {
    ("force/weight", "1"): lambda a, c: np.linalg.norm(c.force_w, axis=0) / a.weight,
    ("roll torque/largest", "1"): lambda a, c: c.torque_b[0] / a.max_roll_torque,
    ("velocity delay", "s"): lambda a, c: c.velocity_delay,
    ("attitude delay", "s"): lambda a, c: c.attitude_delay,
    ("sensor noise", "unit noise"): lambda a, c: c.noise,
    ("thrust lost in 10 s", "1"): lambda a, c: c.sag,
}


def columns(airframes: Airframes, conditions: Conditions) -> dict[tuple[str, str], Array]:
    """All quantities, (N,) each, by name and unit."""
    own = {key: value(airframes) for key, value in QUANTITIES.items()}
    return own | {key: value(airframes, conditions) for key, value in CONDITIONS.items()}


def of_vehicle(parameters: QuadrotorParameters) -> Airframes:
    """A vehicle as an airframe, with rotor speeds as parts of the largest."""
    flat = np.array(parameters.flatten(), float)
    top = flat[44:48].copy()
    flat[20:24] *= top
    flat[24:28] *= top**2
    flat[40:44] /= top
    flat[44:48] = 1.0
    return Airframes(flat[:, None])


# The flat airframe, see ``Airframes.columns``; four entries are those of rotors FR, BR, BL, FL.
_ROTOR_FIELDS = (
    "rotor_x_m", "rotor_y_m", "rotor_spin", "thrust_c0_N", "thrust_c1_N", "thrust_c2_N", "torque_constant_m",
    "rise_time_s", "fall_time_s", "rotor_speed_min", "rotor_speed_max",
)  # fmt: skip
_CONDITION_FIELDS = ("velocity_delay_s", "attitude_delay_s", "noise", "sag_per_10s")


def write_csv(path: Path, airframes: Airframes, conditions: Conditions) -> None:
    """Writes whole airframes, one a line, and the conditions of one episode of each; units stand in the header."""
    names = ["mass_kg", *(f"inertia_{axis}_kg_m2" for axis in ("xx", "yy", "zz"))]
    names += [f"{field}_{rotor}" for field in _ROTOR_FIELDS for rotor in range(4)]
    names += [f"drag_{axis}_N_s_m" for axis in "xyz"]
    names += [f"force_{axis}_N" for axis in "xyz"] + [f"torque_{axis}_N_m" for axis in "xyz"]
    names += [*_CONDITION_FIELDS, "thrust_to_weight", "torque_to_inertia_rad_s2"]
    derived = (airframes.thrust_to_weight, airframes.torque_to_inertia)
    delays = (conditions.velocity_delay, conditions.attitude_delay, conditions.noise, conditions.sag)
    rows = np.vstack([airframes.columns, conditions.force_w, conditions.torque_b, *delays, *derived]).T
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(names)
        writer.writerows([repr(value) for value in row] for row in rows.tolist())


def read_csv(path: Path) -> Airframes:
    """The airframes of a file of ``write_csv``, to the last bit."""
    return Airframes(np.loadtxt(path, delimiter=",", skiprows=1, ndmin=2)[:, :51].T.copy())

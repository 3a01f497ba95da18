"""A quadrotor's physical parameters: read from a vehicle file, flattened for symbolic and batched models."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from control_stack.crazyflie.thrust import CrazyflieThrust
from control_stack.data_file import parse_mapping, quantity, read_text, shipped_names
from control_stack.errors import InvalidInput, UnknownName
from control_stack.px4.thrust import PX4Thrust
from control_stack.types import Array

GRAVITY = 9.80665  # m/s^2, standard gravity (CGPM 1901)

Four = tuple[Any, Any, Any, Any]


class Airframe(NamedTuple):
    """Physical parameters by component, each a scalar of any kind (see ``control_stack.algebra``).

    Per-rotor entries are tuples of four. Units as in the vehicle file.
    """

    mass: Any
    inertia: tuple[Any, Any, Any]
    rotor_x: Four
    rotor_y: Four
    rotor_spin: Four
    thrust_c0: Four
    thrust_c1: Four
    thrust_c2: Four
    torque_constant: Four
    rise_time: Four
    fall_time: Four
    rotor_speed_min: Four
    rotor_speed_max: Four
    drag: tuple[Any, Any, Any]


AIRFRAME_SIZE = 1 + 3 + 11 * 4 + 3


def airframe_from_columns(columns: Any) -> Airframe:
    """The inverse of ``QuadrotorParameters.flatten``: takes anything indexable with AIRFRAME_SIZE entries."""
    at = [columns[i] for i in range(AIRFRAME_SIZE)]
    fours = [tuple(at[4 + 4 * k : 8 + 4 * k]) for k in range(11)]
    return Airframe(at[0], tuple(at[1:4]), *fours, tuple(at[48:51]))  # type: ignore[arg-type, call-arg]


@dataclass(frozen=True)
class ControlGains:
    """Gains of the core's inner laws, as accelerations per error, so they carry from vehicle to vehicle.

    Attributes:
        position: (3,) 1/s^2, on position error.
        velocity: (3,) 1/s, on velocity error.
        attitude: (3,) 1/s, body rate demanded per rad of attitude error.
        rate: (3,) 1/s, angular acceleration per rad/s of rate error.
    """

    position: Array
    velocity: Array
    attitude: Array
    rate: Array


@dataclass(frozen=True)
class FlightLimits:
    """What the safety layer and the inner laws never exceed.

    Attributes:
        tilt: rad. body_rate: (3,) rad/s. speed: m/s. acceleration: m/s^2 (of go-to, take-off and landing).
    """

    tilt: float
    body_rate: Array
    speed: float
    acceleration: float


@dataclass(frozen=True)
class BatteryLimits:
    """Thresholds of the safety layer. cells: in series. low, critical: V a cell, under load."""

    cells: float
    low: float
    critical: float


@dataclass(frozen=True, kw_only=True)
class QuadrotorParameters:
    """Rigid body with four rotors, axes along body z. Leading batch dimensions broadcast.

    Rotor i thrusts ``c0 + c1 w + c2 w^2`` N at w rad/s (0 below 0), turns the body by ``spin *
    torque_constant * thrust`` about z, and follows its command with a first-order lag, ``rise_time`` when
    speeding up and ``fall_time`` when slowing down. Drag is linear in the body-frame airspeed: ``-drag *
    v_b`` N.

    Attributes:
        name: Vehicle name.
        mass: (...) kg.
        inertia: (..., 3) principal moments about body x, y, z, kg m^2.
        rotor_position: (..., 4, 3) from the centre of mass, FLU, m.
        rotor_spin: (..., 4) +1 where the reaction torque on the body is along +z (clockwise from above).
        thrust_curve: (..., 4, 3) c0 [N], c1 [N s/rad], c2 [N s^2/rad^2].
        torque_constant: (..., 4) m.
        rise_time, fall_time: (..., 4) s.
        rotor_speed_min, rotor_speed_max: (..., 4) rad/s while armed.
        drag: (..., 3) N s/m.
        body_size: (3,) bounding box of the airframe for collision, m.
        gains, limits: Of the inner laws and the safety layer.
        sources: Where each value comes from.
        px4: Scale of PX4's normalised thrust; None where the file has no ``px4:`` block.
        crazyflie: Scale of the Crazyflie's thrust command; None where the file has no ``crazyflie:`` block.
        battery: Thresholds; None where the file has no ``battery:`` block.
    """

    name: str
    mass: Any
    inertia: Any
    rotor_position: Any
    rotor_spin: Any
    thrust_curve: Any
    torque_constant: Any
    rise_time: Any
    fall_time: Any
    rotor_speed_min: Any
    rotor_speed_max: Any
    drag: Any
    body_size: Array
    gains: ControlGains
    limits: FlightLimits
    sources: dict[str, str]
    px4: PX4Thrust | None = None
    crazyflie: CrazyflieThrust | None = None
    battery: BatteryLimits | None = None

    def flatten(self) -> Array:
        """(..., AIRFRAME_SIZE) vector of the physical parameters, in the order of ``Airframe``."""
        curve, place = np.asarray(self.thrust_curve, float), np.asarray(self.rotor_position, float)
        values = [
            np.asarray(self.mass, dtype=float)[..., None],
            self.inertia,
            place[..., 0],
            place[..., 1],
            self.rotor_spin,
            *(curve[..., k] for k in range(3)),
            self.torque_constant,
            self.rise_time,
            self.fall_time,
            self.rotor_speed_min,
            self.rotor_speed_max,
            self.drag,
        ]
        parts = [np.asarray(value, dtype=float) for value in values]
        batch = np.broadcast_shapes(*(part.shape[:-1] for part in parts))
        return np.concatenate([np.broadcast_to(p, (*batch, p.shape[-1])) for p in parts], axis=-1)

    @cached_property
    def airframe(self) -> Airframe:
        """By component: floats for one vehicle, arrays of the batch shape for many."""
        flat = self.flatten()
        return airframe_from_columns(flat.tolist() if flat.ndim == 1 else np.moveaxis(flat, -1, 0))

    @property
    def hover_rotor_speed(self) -> float:
        """Mean rotor speed that carries the weight with equal thrust on all rotors, rad/s."""
        c0, c1, c2 = np.asarray(self.thrust_curve, float).mean(axis=0)
        share = float(self.mass) * GRAVITY / 4.0
        return float((-c1 + np.sqrt(c1**2 - 4.0 * c2 * (c0 - share))) / (2.0 * c2))

    @cached_property
    def max_thrust(self) -> float:
        """Collective thrust with all rotors at full speed, N."""
        w = np.asarray(self.rotor_speed_max, float)
        c = np.asarray(self.thrust_curve, float)
        return float((c[:, 0] + c[:, 1] * w + c[:, 2] * w**2).sum())

    def with_payload(self, mass: float, offset_b: Array) -> QuadrotorParameters:
        """This vehicle carrying a rigid point mass at offset_b (m, FLU, from its own centre of mass).

        The state then describes the composite centre of mass. Principal axes stay aligned when the offset
        lies on a body axis; products of inertia of other offsets are neglected, so those are refused.
        """
        offset = np.asarray(offset_b, dtype=float)
        if np.count_nonzero(offset) > 1:
            raise InvalidInput("a payload offset must lie on one body axis")
        total = self.mass + mass
        shift = mass / total * offset
        reduced = self.mass * mass / total
        inertia = np.asarray(self.inertia) + reduced * (offset @ offset - offset**2)
        return replace(self, mass=total, inertia=inertia, rotor_position=np.asarray(self.rotor_position) - shift)

    def with_rotor_loss(self, rotor: int, fraction: float) -> QuadrotorParameters:
        """This vehicle with one rotor giving only (1 - fraction) of its thrust."""
        curve = np.array(self.thrust_curve, dtype=float)
        curve[rotor] *= 1.0 - fraction
        return replace(self, thrust_curve=curve)


# key -> (unit, shape); every one is required in a vehicle file unless listed in _OPTIONAL
_SCHEMA: dict[str, tuple[str, tuple[int, ...]]] = {
    "mass": ("kg", ()),
    "inertia": ("kg m^2", (3,)),
    "rotor_position": ("m", (4, 3)),
    "rotor_spin": ("1", (4,)),
    "thrust_curve": ("N, N s/rad, N s^2/rad^2", (3,)),
    "torque_constant": ("m", ()),
    "rotor_rise_time": ("s", ()),
    "rotor_fall_time": ("s", ()),
    "rotor_speed_min": ("rad/s", ()),
    "rotor_speed_max": ("rad/s", ()),
    "drag": ("N s/m", (3,)),
    "body_size": ("m", (3,)),
    "position_gain": ("1/s^2", (3,)),
    "velocity_gain": ("1/s", (3,)),
    "attitude_gain": ("1/s", (3,)),
    "rate_gain": ("1/s", (3,)),
    "max_tilt": ("rad", ()),
    "max_body_rate": ("rad/s", (3,)),
    "max_speed": ("m/s", ()),
    "max_acceleration": ("m/s^2", ()),
}
_OPTIONAL = {"drag": [0.0, 0.0, 0.0]}
# Optional blocks: what only one kind of autopilot needs, or only a vehicle that tells its battery.
_BLOCKS: dict[str, dict[str, tuple[str, tuple[int, ...]]]] = {
    "px4": {"hover_thrust": ("1", ()), "model_factor": ("1", ()), "motor_factor": ("1", ())},
    "crazyflie": {
        "full_scale": ("N", ()),
        "linear": ("V/N", ()),
        "quadratic": ("V/N^2", ()),
        "compensated": ("1", ()),
    },
    "battery": {"cells": ("1", ()), "low": ("V", ()), "critical": ("V", ())},
}
# The inner loops keep a tenth of the thrust for attitude; what is left must still lift the vehicle with some
# margin.
_MIN_THRUST_TO_WEIGHT = 1.2
_NOT_NEGATIVE = ("rotor_speed_min", "drag")
_ANY_SIGN = ("rotor_position", "rotor_spin", "thrust_curve")


def vehicle_names() -> list[str]:
    """Names of the vehicles that ship with the package."""
    return shipped_names("vehicles")


def load_vehicle(name_or_path: str | Path) -> QuadrotorParameters:
    """Reads a shipped vehicle by name, or a file by path (anything with a separator or ending in .yaml).

    Raises:
        UnknownName: No such vehicle.
        InvalidInput: The file is missing, not YAML, or a value is missing, of another unit, shape or sign.
    """
    return parse_vehicle(*read_text(name_or_path, "vehicle", "vehicles"))


def parse_vehicle(text: str, origin: str) -> QuadrotorParameters:
    """Parses a vehicle file: ``name``, ``description``, and per quantity ``{value, unit, source}``."""
    data = parse_mapping(text, origin)
    unknown = set(data) - set(_SCHEMA) - set(_BLOCKS) - {"name", "description"}
    if unknown:
        raise UnknownName(f"key in {origin}", sorted(map(str, unknown))[0], [*_SCHEMA, *_BLOCKS])
    v = {key: quantity(data, key, origin, _SCHEMA, _OPTIONAL) for key in _SCHEMA}
    _check_values(v, origin)
    parameters = QuadrotorParameters(
        name=data["name"],
        mass=float(v["mass"]),
        inertia=v["inertia"],
        rotor_position=v["rotor_position"],
        rotor_spin=v["rotor_spin"],
        thrust_curve=np.tile(v["thrust_curve"], (4, 1)),
        torque_constant=np.full(4, v["torque_constant"]),
        rise_time=np.full(4, v["rotor_rise_time"]),
        fall_time=np.full(4, v["rotor_fall_time"]),
        rotor_speed_min=np.full(4, v["rotor_speed_min"]),
        rotor_speed_max=np.full(4, v["rotor_speed_max"]),
        drag=v["drag"],
        body_size=v["body_size"],
        gains=ControlGains(v["position_gain"], v["velocity_gain"], v["attitude_gain"], v["rate_gain"]),
        limits=FlightLimits(
            float(v["max_tilt"]), v["max_body_rate"], float(v["max_speed"]), float(v["max_acceleration"])
        ),
        sources={key: data[key]["source"] for key in _SCHEMA if key in data},
        px4=PX4Thrust(**px4) if (px4 := _block(data, "px4", origin)) else None,
        crazyflie=CrazyflieThrust(**cf) if (cf := _block(data, "crazyflie", origin)) else None,
        battery=_battery(data, origin),
    )
    ratio = parameters.max_thrust / (parameters.mass * GRAVITY)
    if ratio < _MIN_THRUST_TO_WEIGHT:
        raise InvalidInput(
            f"{origin}: thrust/weight is {ratio:.2f}; a vehicle below {_MIN_THRUST_TO_WEIGHT} cannot fly"
        )
    return parameters


def _check_values(v: dict[str, Array], origin: str) -> None:
    """Refuses what no vehicle can have, or what the laws and the motor permutations rely on."""
    for key, value in v.items():
        if key in _NOT_NEGATIVE and np.any(value < 0.0):
            raise InvalidInput(f"{origin}: {key} must not be negative, got {value.tolist()}")
        if key not in (*_NOT_NEGATIVE, *_ANY_SIGN) and not np.all(value > 0.0):
            raise InvalidInput(f"{origin}: {key} must be positive, got {value.tolist()}")
    low, high = float(v["rotor_speed_min"]), float(v["rotor_speed_max"])
    if low >= high:
        raise InvalidInput(f"{origin}: rotor_speed_min must be below rotor_speed_max")
    if 2.0 * v["inertia"].max() > v["inertia"].sum():
        raise InvalidInput(f"{origin}: inertia: no rigid body has one moment above the sum of the other two")
    spin = v["rotor_spin"]
    if set(np.abs(spin).tolist()) != {1.0} or spin[0] != spin[2] or spin[1] != spin[3] or spin[0] == spin[1]:
        raise InvalidInput(f"{origin}: rotor_spin must be +1 on one diagonal and -1 on the other, got {spin.tolist()}")
    if not np.array_equal(np.sign(v["rotor_position"][:, :2]), [[1, -1], [-1, -1], [-1, 1], [1, 1]]):
        raise InvalidInput(
            f"{origin}: rotor_position must be in the order front right, back right, back left, front left"
        )
    thrust = np.maximum(np.polynomial.polynomial.polyval(np.linspace(low, high, 200), v["thrust_curve"]), 0.0)
    if v["thrust_curve"][2] <= 0.0 or np.any(np.diff(thrust) < 0.0):
        raise InvalidInput(f"{origin}: thrust_curve must rise over the rotors' range, with a positive s^2 term")
    if v["max_tilt"] >= np.pi / 2:
        raise InvalidInput(f"{origin}: max_tilt must be below pi/2 rad, got {float(v['max_tilt']):g}")


def _battery(data: dict[str, Any], origin: str) -> BatteryLimits | None:
    block = _block(data, "battery", origin)
    if block is None:
        return None
    limits = BatteryLimits(**block)
    if limits.cells < 1.0 or limits.cells % 1.0 or not 0.0 < limits.critical < limits.low:
        raise InvalidInput(f"{origin}: battery: needs a whole number of cells and 0 < critical < low, got {block}")
    return limits


def _block(data: dict[str, Any], name: str, origin: str) -> dict[str, float] | None:
    """Numbers of an optional block, all of which it must hold; None without the block."""
    if name not in data:
        return None
    schema, block, place = _BLOCKS[name], data[name], f"{origin}: {name}"
    if not isinstance(block, dict):
        raise InvalidInput(f"{place} must be a mapping of {', '.join(schema)}")
    unknown = set(block) - set(schema)
    if unknown:
        raise UnknownName(f"key in {place}", sorted(map(str, unknown))[0], schema)
    return {key: float(quantity(block, key, place, schema, {})) for key in schema}

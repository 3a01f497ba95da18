"""Seeded references and loads that an arm can carry out: inside its limits, with torque to spare."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from control_stack.arm.dynamics import ArmDynamics
from control_stack.arm.load import NO_LOAD, Load
from control_stack.arm.parameters import ArmParameters
from control_stack.arm.references import MultiSine, PointToPoint
from control_stack.errors import InvalidInput, UnknownName
from control_stack.protocols import JointTrajectory
from control_stack.types import Array

TORQUE_SHARE = 0.8  # of each joint's limit that a reference may need
_LIMIT_SHARE = 0.8  # of the limits of position (about the middle of the range), velocity and acceleration
_REACH = 0.7  # rad, how far references go from home
_SAMPLES_PER_S = 50
_TRIES = 2000
Kind = Literal["multi_sine", "point_to_point"]
KINDS: tuple[Kind, ...] = ("multi_sine", "point_to_point")


def torque_share(arm: ArmParameters, reference: JointTrajectory, load: Load = NO_LOAD) -> Array:
    """(n,) largest share of each joint's torque limit that following the reference with a load takes.

    By inverse dynamics with the arm's own friction, at 50 samples per second.
    """
    samples = reference(np.linspace(0.0, reference.duration, round(reference.duration * _SAMPLES_PER_S) + 1))
    model = ArmDynamics(arm, 1.0 / _SAMPLES_PER_S)
    tau = model.inverse(samples.position, samples.velocity, samples.acceleration, load.parameters)
    return np.abs(tau).max(axis=0) / arm.torque_limit


def draw_reference(
    arm: ArmParameters,
    seed: int,
    kind: Kind = "multi_sine",
    loads: Sequence[Load] = (NO_LOAD,),
    duration: float = 10.0,
    floor: float = 0.1,
) -> JointTrajectory:
    """A reference about the arm's home that it can follow with each of the loads.

    Drawn anew until no joint needs more than 80 % of its torque limit with any load and the flange stays at
    least ``floor`` m above the base. Positions, velocities and accelerations stay within 80 % of their limits
    by construction. Equal arguments give equal references.

    Raises:
        UnknownName: No such kind.
        InvalidInput: No draw will do: the loads are too heavy for the arm.
    """
    if kind not in KINDS:
        raise UnknownName("kind of reference", kind, KINDS)
    rng = np.random.default_rng(seed)
    model = ArmDynamics(arm, 1.0 / _SAMPLES_PER_S)
    for _ in range(_TRIES):
        reference = _multi_sine(arm, rng, duration) if kind == "multi_sine" else _moves(arm, rng, duration)
        times = np.linspace(0.0, duration, round(duration * _SAMPLES_PER_S) + 1)
        if model.flange(reference(times).position)[0][..., 2].min() < floor:
            continue
        if all(torque_share(arm, reference, load).max() <= TORQUE_SHARE for load in loads):
            return reference
    heaviest = max(load.mass for load in loads)
    raise InvalidInput(
        f"{arm.name}: none of {_TRIES} drawn references keeps all joints under {TORQUE_SHARE:.0%} of their torque "
        f"limits with the loads (up to {heaviest:g} kg)"
    )


def draw_load(
    arm: ArmParameters,
    references: Sequence[JointTrajectory],
    rng: np.random.Generator,
    mass: tuple[float, float] = (0.0, 4.0),
    offset: float = 0.3,
) -> Load:
    """A box that the arm can carry along all the references.

    Mass uniform in ``mass`` (kg), centre of mass uniform within ``offset`` (m) of the flange on each axis, edges
    uniform in 4 to 16 cm; drawn anew until no joint needs more than 80 % of its torque limit, so that heavy
    boxes come with small offsets. Raises InvalidInput when no draw will do.
    """
    for _ in range(_TRIES):
        load = Load.box(float(rng.uniform(*mass)), rng.uniform(0.04, 0.16, 3), rng.uniform(-offset, offset, 3))
        if all(torque_share(arm, reference, load).max() <= TORQUE_SHARE for reference in references):
            return load
    raise InvalidInput(
        f"{arm.name}: cannot carry any of {_TRIES} drawn loads of {mass[0]:g} to {mass[1]:g} kg along the reference "
        f"with {TORQUE_SHARE:.0%} of its torque limits"
    )


def _range(arm: ArmParameters) -> tuple[Array, Array]:
    """(n,) lowest and highest angle of a reference, rad."""
    low, high = arm.position_lower, arm.position_upper
    margin = np.where(np.isfinite(high - low), 0.5 * (1.0 - _LIMIT_SHARE) * (high - low), 0.0)
    return np.maximum(low + margin, arm.home - _REACH), np.minimum(high - margin, arm.home + _REACH)


def _multi_sine(arm: ArmParameters, rng: np.random.Generator, duration: float) -> MultiSine:
    low, high = _range(arm)
    harmonics = 3
    raw = rng.standard_normal((arm.joints, harmonics)) / np.arange(1, harmonics + 1)
    phase = rng.uniform(-np.pi, np.pi, (arm.joints, harmonics))
    unit = MultiSine(arm.home, raw, phase, duration=duration)
    half = 0.5 * (high - low)
    wanted = rng.uniform(0.3, 1.0, arm.joints) * half / unit.reach
    fast = _LIMIT_SHARE * np.minimum(arm.velocity_limit / unit.speed, arm.acceleration_limit / unit.acceleration)
    factor = np.minimum(wanted, fast)
    reach = factor * unit.reach
    centre = rng.uniform(low + reach, np.maximum(high - reach, low + reach))
    return MultiSine(centre, factor[:, None] * raw, phase, duration=duration)


def _moves(arm: ArmParameters, rng: np.random.Generator, duration: float) -> PointToPoint:
    low, high = _range(arm)
    moves = 4
    rest = 0.12 * duration / moves
    move = duration / moves - rest
    farthest = _LIMIT_SHARE * np.minimum(
        arm.velocity_limit * move / PointToPoint.PEAK_SPEED,
        arm.acceleration_limit * move**2 / PointToPoint.PEAK_ACCELERATION,
    )
    postures = [rng.uniform(low, high)]
    for _ in range(moves):
        there = rng.uniform(low, high)
        postures.append(postures[-1] + np.clip(there - postures[-1], -farthest, farthest))
    return PointToPoint(postures, move, rest)

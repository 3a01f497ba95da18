"""Allocation of collective thrust and torque to rotors, with a priority when they cannot all be had.

Roll and pitch torque come first (they keep the vehicle upright), then collective thrust, then yaw torque: the
order of Faessler, Falanga, Scaramuzza 2017 (RA-L 2(2)).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce

import numpy as np

from control_stack.algebra import Scalar, Vector, clip, maximum, minimum, where
from control_stack.quadrotor.dynamics import rotor_speed_for_thrust
from control_stack.quadrotor.parameters import Airframe, QuadrotorParameters

RESPONSE_TIME = 0.02  # s: the rotor lag that lead compensation aims at; slower rotors are driven ahead


@dataclass(frozen=True)
class Mixer:
    """Inverse of the rotor wrench map of one vehicle: thrust_i = rows[i] . (T, tau_x, tau_y, tau_z)."""

    rows: tuple[tuple[float, float, float, float], ...]
    thrust_min: tuple[float, ...]
    thrust_max: tuple[float, ...]

    @classmethod
    def of(cls, parameters: QuadrotorParameters) -> Mixer:
        """The mixer of one vehicle."""
        place = np.asarray(parameters.rotor_position, dtype=float)
        yaw = np.asarray(parameters.rotor_spin) * np.asarray(parameters.torque_constant)
        inverse = np.linalg.inv(np.stack([np.ones(4), place[:, 1], -place[:, 0], yaw]))
        curve = np.asarray(parameters.thrust_curve, dtype=float)

        def thrust(speed: np.ndarray) -> tuple[float, ...]:
            powers = np.stack([np.ones(4), speed, speed**2], axis=-1)
            return tuple(np.maximum((curve * powers).sum(-1), 0.0).tolist())

        return cls(
            tuple(map(tuple, inverse.tolist())),
            thrust(np.asarray(parameters.rotor_speed_min, dtype=float)),
            thrust(np.asarray(parameters.rotor_speed_max, dtype=float)),
        )


def allocate(thrust: Scalar, torque: Vector, mixer: Mixer) -> tuple[Scalar, ...]:
    """Rotor thrusts (N) within limits that realise thrust (N) and torque (N m) as far as the priority allows.

    1. roll and pitch are scaled by k <= 1 until their spread fits between the rotors' limits (where they
       differ in share or limits, between the highest lower and the lowest upper one: safe, a little early);
    2. the collective is moved, no more than needed, until every rotor is within its limits;
    3. yaw is scaled into the room that is left.
    """
    rows, low, high = mixer.rows, mixer.thrust_min, mixer.thrust_max
    share = [row[0] for row in rows]
    tilt = [row[1] * torque[0] + row[2] * torque[1] for row in rows]
    per_share = [t / s for t, s in zip(tilt, share, strict=True)]
    spread = reduce(maximum, per_share) - reduce(minimum, per_share)
    room = min(h / s for h, s in zip(high, share, strict=True)) - max(lo / s for lo, s in zip(low, share, strict=True))
    k = minimum(room / maximum(spread, 1e-9), 1.0)
    tilt = [k * t for t in tilt]
    floor = reduce(maximum, [(lo - t) / s for lo, t, s in zip(low, tilt, share, strict=True)])
    ceiling = reduce(minimum, [(hi - t) / s for hi, t, s in zip(high, tilt, share, strict=True)])
    collective = clip(thrust, floor, ceiling)
    base = [s * collective + t for s, t in zip(share, tilt, strict=True)]
    yaw = [row[3] * torque[2] for row in rows]
    k_yaw = 1.0
    for b, y, lo, hi in zip(base, yaw, low, high, strict=True):
        # Room towards the side yaw pushes this rotor to, over how far it pushes.
        ahead = where(y > 0.0, hi - b, b - lo)
        k_yaw = minimum(k_yaw, maximum(ahead, 0.0) / maximum(where(y > 0.0, y, -y), 1e-9))
    return tuple(b + k_yaw * y for b, y in zip(base, yaw, strict=True))


def lead_rotor_speeds(wanted: tuple[Scalar, ...], actual: tuple[Scalar, ...], airframe: Airframe) -> tuple[Scalar, ...]:
    """Commands that move slow rotors from actual to wanted speed with RESPONSE_TIME instead of their own lag.

    u = W + (W_d - W) max(1, tau / RESPONSE_TIME), clipped to the rotors' range. Without it the Crazyflie's
    0.25 s fall time would cap the attitude bandwidth near 2 rad/s.
    """
    out = []
    for i, (goal, now) in enumerate(zip(wanted, actual, strict=True)):
        gap = goal - now
        rise = maximum(airframe.rise_time[i] / RESPONSE_TIME, 1.0)
        fall = maximum(airframe.fall_time[i] / RESPONSE_TIME, 1.0)
        command = now + where(gap > 0.0, gap * rise, gap * fall)
        out.append(clip(command, airframe.rotor_speed_min[i], airframe.rotor_speed_max[i]))
    return tuple(out)


def rotor_speeds(thrust: Scalar, torque: Vector, mixer: Mixer, airframe: Airframe) -> tuple[Scalar, ...]:
    """Rotor speeds (rad/s) that realise a wrench, through ``allocate`` and the inverse thrust curve."""
    return rotor_speed_for_thrust(allocate(thrust, torque, mixer), airframe)

"""Laws of random quadrotors: RAPTOR's, to compare on equal terms, and a wider one of this stack's own.

A law is data: ranges of the quantities that decide how a quadrotor flies, from which whole airframes follow.
Rotor speeds are normalised: u = rotor speed / its maximum, in 0..1, so the thrust curve is c0 + c1 u + c2 u^2 N.

Source of RAPTOR's law: Eschmann, Albani, Loianno 2025 (arXiv 2509.11481) and the authors' public code.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from control_stack.errors import InvalidInput, UnknownName
from control_stack.quadrotor.parameters import AIRFRAME_SIZE, GRAVITY, Airframe, airframe_from_columns
from control_stack.types import Array

Range = tuple[float, float]

# Base airframe of RAPTOR's law, a Crazyflie (authors' public code).
BASE_MASS = 0.0306  # kg
BASE_INERTIA = (9.4166e-6, 9.6441e-6, 1.7460e-5)  # kg m^2
BASE_ARM = 0.028  # m, |x| and |y| of a rotor
BASE_CURVE = (0.00352526, 0.01437313, 0.09223048)  # N
# Front right, back right, back left, front left; the sign of the reaction torque about body z.
ROTOR_X, ROTOR_Y, ROTOR_SPIN = (1.0, -1.0, -1.0, 1.0), (-1.0, -1.0, 1.0, 1.0), (-1.0, 1.0, -1.0, 1.0)


@dataclass(frozen=True)
class AirframeLaw:
    """Ranges (low, high) of uniform draws, unless said otherwise; a range of equal ends is a constant.

    Attributes:
        thrust_to_weight: Collective thrust at full speed / weight.
        mass: kg; its cube root is uniform.
        torque_to_inertia: Largest roll torque / roll inertia, rad/s^2 (see ``Airframes.torque_to_inertia``).
        arm_spread: Standard deviation of f: arm = base arm cbrt(mass/base) * (1 + f if f > 0 else 1/(1 - f)),
            f normal.
        torque_constant: Reaction torque / thrust, m.
        rise_time, fall_time: Of the rotor speeds, s.
        curve_shape: Share of the thrust at full speed that is quadratic in the speed, the rest linear; None keeps
            the base's shape.
        inertia_y, inertia_z: Factors on the base's Jyy/Jxx and Jzz/Jxx.
        motor_spread: Standard deviation of the thrust from motor to motor, relative.
        centre_offset: Of the centre of mass along x and y, relative to the arm, each in +-this.
        drag: Linear drag / mass, 1/s.
        velocity_delay, attitude_delay: Age of the measured velocity, and of attitude and body rate, s.
        noise: Factor on ``Conditions``' unit noise.
        force: Constant force / weight, its length; None: RAPTOR's normal law.
        torque: Constant torque / largest roll torque, per axis in +- a draw from the range.
        sag: Thrust lost over 10 s by the falling battery voltage, relative.
    """

    thrust_to_weight: Range = (1.5, 5.0)
    mass: Range = (0.02, 5.0)
    torque_to_inertia: Range = (40.0, 1200.0)
    arm_spread: float = 0.1
    torque_constant: Range = (0.005, 0.05)
    rise_time: Range = (0.03, 0.10)
    fall_time: Range = (0.03, 0.30)
    curve_shape: Range | None = None
    inertia_y: Range = (1.0, 1.0)
    inertia_z: Range = (1.0, 1.0)
    motor_spread: float = 0.0
    centre_offset: float = 0.0
    drag: Range = (0.0, 0.0)
    velocity_delay: Range = (0.0, 0.0)
    attitude_delay: Range = (0.0, 0.0)
    noise: Range = (0.0, 0.0)
    force: Range | None = None
    torque: Range = (0.0, 0.0)
    sag: Range = (0.0, 0.0)

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, tuple) and not (len(value) == 2 and value[0] <= value[1]):
                raise InvalidInput(f"airframe law: {field.name} must be (low, high), got {value}")


LAWS = {
    "raptor": AirframeLaw(),
    "wide": AirframeLaw(
        curve_shape=(0.5, 1.0),
        inertia_y=(0.8, 1.3),
        inertia_z=(0.7, 1.3),
        motor_spread=0.03,
        centre_offset=0.1,
        drag=(0.0, 0.5),
        velocity_delay=(0.0, 0.08),
        attitude_delay=(0.0, 0.08),
        noise=(0.0, 1.0),
        force=(0.0, 0.3),
        torque=(0.0, 0.2),
        sag=(0.0, 0.1),
    ),
}


def law_named(name: str, **changes: Any) -> AirframeLaw:
    """A law by name, with some of its ranges changed.

    Raises:
        UnknownName: No such law.
    """
    if name not in LAWS:
        raise UnknownName("airframe law", name, LAWS)
    return replace(LAWS[name], **changes)


@dataclass(frozen=True)
class Airframes:
    """A batch of airframes by component.

    Attributes:
        columns: (51, N) float64 in the order of ``quadrotor.parameters.Airframe``, rotor speeds normalised.
    """

    columns: Array

    def __len__(self) -> int:
        return self.columns.shape[1]

    def __getitem__(self, index: Any) -> Airframes:
        """A selection, by slice or index array."""
        return Airframes(self.columns[:, index])

    @property
    def airframe(self) -> Airframe:
        """By component, each (N,)."""
        return airframe_from_columns(self.columns)

    @property
    def max_thrust(self) -> Array:
        """(N, 4) thrust of each rotor at full speed, N."""
        a = self.airframe
        return np.stack([a.thrust_c0[i] + a.thrust_c1[i] + a.thrust_c2[i] for i in range(4)], axis=-1)

    @property
    def weight(self) -> Array:
        """(N,) N."""
        return self.airframe.mass * GRAVITY

    @property
    def thrust_to_weight(self) -> Array:
        """(N,) collective thrust at full speed / weight."""
        return self.max_thrust.sum(-1) / self.weight

    @property
    def hover_speed(self) -> Array:
        """(N,) normalised speed of the mean rotor that carries a quarter of the weight."""
        a = self.airframe
        c0, c1, c2 = (np.stack(c).mean(0) for c in (a.thrust_c0, a.thrust_c1, a.thrust_c2))
        return (-c1 + np.sqrt(c1**2 - 4.0 * c2 * (c0 - self.weight / 4.0))) / (2.0 * c2)

    @property
    def arm(self) -> Array:
        """(N,) mean distance of the rotors from the roll axis, m."""
        return np.abs(np.stack(self.airframe.rotor_y)).mean(0)

    @property
    def max_roll_torque(self) -> Array:
        """(N,) sqrt(2) * arm * thrust of one rotor at full speed, N m (the authors' definition)."""
        return np.sqrt(2.0) * self.arm * self.max_thrust.mean(-1)

    @property
    def torque_to_inertia(self) -> Array:
        """(N,) largest roll torque / roll inertia, rad/s^2."""
        return self.max_roll_torque / self.airframe.inertia[0]


def sample(law: AirframeLaw, count: int, rng: np.random.Generator) -> Airframes:
    """Draws airframes from a law.

    Args:
        count: How many, N.

    Returns:
        N airframes.
    """
    if count < 1:
        raise InvalidInput(f"the number of airframes must be at least 1, got {count}")

    def draw(span: Range) -> Array:
        return rng.uniform(*span, size=count)

    ratio = draw(law.thrust_to_weight)
    mass = rng.uniform(np.cbrt(law.mass[0]), np.cbrt(law.mass[1]), size=count) ** 3
    agility = draw(law.torque_to_inertia)
    f = rng.normal(0.0, law.arm_spread, size=count) if law.arm_spread else np.zeros(count)
    arm = BASE_ARM * np.cbrt(mass / BASE_MASS) * np.where(f < 0.0, 1.0 / (1.0 - f), 1.0 + f)
    rotor_max = ratio * mass * GRAVITY / 4.0
    if law.curve_shape is None:
        shape = np.tile(np.array(BASE_CURVE)[:, None] / sum(BASE_CURVE), (1, count))
    else:
        quadratic = draw(law.curve_shape)
        shape = np.stack([np.zeros(count), 1.0 - quadratic, quadratic])
    spread = np.clip(1.0 + law.motor_spread * rng.normal(size=(4, count)), 0.5, 1.5)
    curves = shape[:, None] * rotor_max * spread  # (3, 4, N)
    jxx = np.sqrt(2.0) * arm * rotor_max / agility
    jx, jy, jz = BASE_INERTIA
    inertia = [jxx, jxx * jy / jx * draw(law.inertia_y), jxx * jz / jx * draw(law.inertia_z)]
    # No rigid body has one moment above the sum of the other two.
    inertia[2] = np.minimum(inertia[2], 0.98 * (inertia[0] + inertia[1]))
    shift = rng.uniform(-law.centre_offset, law.centre_offset, size=(2, count)) * arm
    columns = np.empty((AIRFRAME_SIZE, count))
    rows: list[Any] = [mass, *inertia]
    rows += [x * arm - shift[0] for x in ROTOR_X]
    rows += [y * arm - shift[1] for y in ROTOR_Y]
    rows += list(ROTOR_SPIN)
    rows += [curves[k, i] for k in range(3) for i in range(4)]
    rows += [draw(law.torque_constant)] * 4 + [draw(law.rise_time)] * 4 + [draw(law.fall_time)] * 4
    rows += [0.0] * 4 + [1.0] * 4 + [draw(law.drag) * mass] * 3
    for k, row in enumerate(rows):
        columns[k] = row
    return Airframes(columns)


def crazyflie_preset() -> Airframes:
    """RAPTOR's own Crazyflie, one airframe; it lies outside the law (thrust/weight 1.47, torque constant 4.7 mm)."""
    rows = [BASE_MASS, *BASE_INERTIA]
    rows += [x * BASE_ARM for x in ROTOR_X] + [y * BASE_ARM for y in ROTOR_Y] + list(ROTOR_SPIN)
    rows += [c for c in BASE_CURVE for _ in range(4)]
    rows += [4.665e-3] * 4 + [0.0555] * 4 + [0.2494] * 4 + [0.0] * 4 + [1.0] * 4 + [0.0] * 3
    return Airframes(np.array(rows)[:, None])


def concatenate(parts: Sequence[Airframes]) -> Airframes:
    """Several batches as one."""
    return Airframes(np.concatenate([part.columns for part in parts], axis=1))


@dataclass(frozen=True)
class Conditions:
    """What an episode adds to the airframe, N vehicles; float64.

    Attributes:
        force_w: (3, N) constant force in the world, N.
        torque_b: (3, N) constant torque about the body axes, N m.
        velocity_delay, attitude_delay: (N,) s.
        noise: (N,) factor on the unit noise (1 mm, 10 mm/s, 0.2 deg, 1 deg/s white per sample).
        sag: (N,) thrust lost in 10 s, relative.
    """

    force_w: Array
    torque_b: Array
    velocity_delay: Array
    attitude_delay: Array
    noise: Array
    sag: Array


def sample_conditions(law: AirframeLaw, airframes: Airframes, rng: np.random.Generator) -> Conditions:
    """Draws the conditions of one episode for each airframe.

    RAPTOR's force: N(0, s) per axis, s = U(0, 0.3 (t2w - 1)) t2w m / 3 N (their code has no factor g).
    """
    n = len(airframes)
    mass, ratio = airframes.airframe.mass, airframes.thrust_to_weight
    if law.force is None:
        std = rng.uniform(0.0, 0.3 * np.maximum(ratio - 1.0, 0.0)) * ratio * mass / 3.0
        force = rng.normal(size=(3, n)) * std
    else:
        direction = rng.normal(size=(3, n))
        direction /= np.linalg.norm(direction, axis=0)
        force = direction * rng.uniform(*law.force, size=n) * airframes.weight
    torque = rng.uniform(-1.0, 1.0, size=(3, n)) * rng.uniform(*law.torque, size=n) * airframes.max_roll_torque
    # Yaw torque is bounded by the weak yaw authority, not by the roll torque.
    yaw_authority = airframes.airframe.torque_constant[0] * airframes.max_thrust.mean(-1)
    torque[2] = np.clip(torque[2], -0.2 * yaw_authority, 0.2 * yaw_authority)
    return Conditions(
        force_w=force,
        torque_b=torque,
        velocity_delay=rng.uniform(*law.velocity_delay, size=n),
        attitude_delay=rng.uniform(*law.attitude_delay, size=n),
        noise=rng.uniform(*law.noise, size=n),
        sag=rng.uniform(*law.sag, size=n),
    )


def calm(airframes: Airframes) -> Conditions:
    """No force, torque, delay, noise or sag."""
    n = len(airframes)
    zero = np.zeros(n)
    return Conditions(np.zeros((3, n)), np.zeros((3, n)), zero, zero, zero, zero)

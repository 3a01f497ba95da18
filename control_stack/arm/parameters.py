"""An arm's physical parameters, read from an arm file or a URDF."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from control_stack.arm.chain import Chain, inertia_about_origin, placement
from control_stack.arm.friction import Friction
from control_stack.arm.load import is_physical
from control_stack.data_file import parse_mapping, quantity
from control_stack.errors import InvalidInput, UnknownName
from control_stack.types import Array


@dataclass(frozen=True)
class ArmParameters:
    """A chain of n turning joints, each about the z axis of the frame of the link that it moves.

    Attributes:
        joint_names: n names, in the order of every array of joints.
        joint_origin: (n, 3) origin of each link's frame in that of the link before, m.
        joint_rotation: (n, 3, 3) its axes there at angle 0.
        flange_origin, flange_rotation: (3,), (3, 3) where loads are fixed, in the last link's frame.
        mass, centre_of_mass, inertia: (n,) kg, (n, 3) m, (n, 3, 3) kg m^2 about the centre, in the link's frame.
        position_lower, position_upper: (n,) rad.
        velocity_limit, acceleration_limit, torque_limit: (n,) rad/s, rad/s^2, N m; inf where none is known.
        friction: See ``friction.friction_torque``.
        home: (n,) rad, a posture to start from.
        radius: (n,) m, of the cylinders that stand for the links in pictures.
        sources: Of every value in the file.
    """

    name: str
    joint_names: tuple[str, ...]
    joint_origin: Array
    joint_rotation: Array
    flange_origin: Array
    flange_rotation: Array
    mass: Array
    centre_of_mass: Array
    inertia: Array
    position_lower: Array
    position_upper: Array
    velocity_limit: Array
    acceleration_limit: Array
    torque_limit: Array
    friction: Friction
    home: Array
    radius: Array
    sources: dict[str, str] = field(default_factory=dict)

    @property
    def joints(self) -> int:
        """n."""
        return len(self.joint_names)

    @cached_property
    def chain(self) -> Chain:
        """The numbers that ``rigid_body`` runs over."""
        return Chain(
            tuple(placement(r, o) for r, o in zip(self.joint_rotation, self.joint_origin, strict=True)),
            tuple(
                inertia_about_origin(float(m), c, i)
                for m, c, i in zip(self.mass, self.centre_of_mass, self.inertia, strict=True)
            ),
            placement(self.flange_rotation, self.flange_origin),
        )

    def with_friction_scaled(self, factor: float | Array) -> ArmParameters:
        """The same arm with amplitude and viscous friction times a factor, one for all or (n,); 0 for none."""
        factors = np.broadcast_to(np.asarray(factor, dtype=float), (self.joints,))
        if not np.isfinite(factors).all() or np.any(factors < 0.0):
            raise InvalidInput(f"friction can be scaled by finite factors of at least 0, got {factors.tolist()}")
        amplitude = tuple((factors * self.friction.amplitude).tolist())
        viscous = tuple((factors * self.friction.viscous).tolist())
        return replace(self, friction=self.friction._replace(amplitude=amplitude, viscous=viscous))


def _schema(n: int) -> dict[str, tuple[str, tuple[int, ...]]]:
    return {
        "joint_origin": ("m", (n, 3)),
        "joint_rpy": ("rad", (n, 3)),
        "flange_origin": ("m", (3,)),
        "flange_rpy": ("rad", (3,)),
        "mass": ("kg", (n,)),
        "centre_of_mass": ("m", (n, 3)),
        "inertia": ("kg m^2", (n, 6)),
        "position_lower": ("rad", (n,)),
        "position_upper": ("rad", (n,)),
        "velocity_limit": ("rad/s", (n,)),
        "acceleration_limit": ("rad/s^2", (n,)),
        "torque_limit": ("N m", (n,)),
        "friction_amplitude": ("N m", (n,)),
        "friction_steepness": ("s/rad", (n,)),
        "friction_shift": ("rad/s", (n,)),
        "viscous_friction": ("N m s/rad", (n,)),
        "home": ("rad", (n,)),
        "radius": ("m", (n,)),
    }


def parse_arm(text: str, origin: str) -> ArmParameters:
    """Parses an arm file: ``name``, ``description``, ``joints`` (names), and per quantity ``{value, unit, source}``.

    inertia holds xx, xy, xz, yy, yz, zz about the centre of mass.
    """
    data = parse_mapping(text, origin)
    names = data.get("joints")
    if not isinstance(names, list) or not names or len(set(map(str, names))) != len(names):
        raise InvalidInput(f"{origin}: 'joints' must list the joints' names, each once")
    schema = _schema(len(names))
    unknown = set(data) - set(schema) - {"name", "description", "joints"}
    if unknown:
        raise UnknownName(f"key in {origin}", sorted(map(str, unknown))[0], schema)
    v = {key: quantity(data, key, origin, schema, {}) for key in schema}
    full = v["inertia"][:, [[0, 1, 2], [1, 3, 4], [2, 4, 5]]]
    friction = (v[key] for key in ("friction_amplitude", "friction_steepness", "friction_shift", "viscous_friction"))
    arm = ArmParameters(
        name=data["name"],
        joint_names=tuple(map(str, names)),
        joint_origin=v["joint_origin"],
        joint_rotation=np.stack([rotation_of_rpy(rpy) for rpy in v["joint_rpy"]]),
        flange_origin=v["flange_origin"],
        flange_rotation=rotation_of_rpy(v["flange_rpy"]),
        mass=v["mass"],
        centre_of_mass=v["centre_of_mass"],
        inertia=full,
        position_lower=v["position_lower"],
        position_upper=v["position_upper"],
        velocity_limit=v["velocity_limit"],
        acceleration_limit=v["acceleration_limit"],
        torque_limit=v["torque_limit"],
        friction=Friction(*(tuple(values.tolist()) for values in friction)),
        home=v["home"],
        radius=v["radius"],
        sources={key: data[key]["source"] for key in schema},
    )
    check_arm(arm, origin)
    return arm


def check_arm(arm: ArmParameters, origin: str) -> None:
    """Refuses what no arm can have. Raises InvalidInput, which names the joint or link."""
    for i, name in enumerate(arm.joint_names):
        if not is_physical(arm.inertia[i]) or arm.mass[i] <= 0.0:
            raise InvalidInput(
                f"{origin}: the link of joint '{name}' needs a positive mass and an inertia that a body can have"
            )
        for key in ("velocity_limit", "acceleration_limit", "torque_limit"):
            if not getattr(arm, key)[i] > 0.0:
                raise InvalidInput(f"{origin}: {key} of joint '{name}' must be positive")
        if not arm.position_lower[i] < arm.position_upper[i]:
            raise InvalidInput(f"{origin}: joint '{name}' needs position_lower below position_upper")
        if not arm.position_lower[i] <= arm.home[i] <= arm.position_upper[i]:
            raise InvalidInput(f"{origin}: home of joint '{name}' is outside its limits")
        if min(arm.friction.amplitude[i], arm.friction.steepness[i], arm.friction.viscous[i]) < 0.0:
            raise InvalidInput(f"{origin}: friction of joint '{name}' must not be negative")


def rotation_of_rpy(rpy: Array) -> Array:
    """(3, 3) Rz(yaw) Ry(pitch) Rx(roll), the convention of URDF; angles in rad."""
    (cr, cp, cy), (sr, sp, sy) = np.cos(rpy), np.sin(rpy)
    return np.array(
        [
            [cy * cp, cy * sp * sr - sy * cr, cy * sp * cr + sy * sr],
            [sy * cp, sy * sp * sr + cy * cr, sy * sp * cr - cy * sr],
            [-sp, cp * sr, cp * cr],
        ]
    )


def rpy_of_rotation(rotation: Array) -> Array:
    """The inverse of ``rotation_of_rpy``: (3,) rad, pitch in [-pi/2, pi/2]; at the poles yaw is 0."""
    pitch = np.arctan2(-rotation[2, 0], np.hypot(rotation[0, 0], rotation[1, 0]))
    if np.hypot(rotation[0, 0], rotation[1, 0]) < 1e-9:
        return np.array([np.arctan2(-rotation[1, 2], rotation[1, 1]), pitch, 0.0])
    return np.array([np.arctan2(rotation[2, 1], rotation[2, 2]), pitch, np.arctan2(rotation[1, 0], rotation[0, 0])])

"""URDF of an arm, written from the same parameters as the equations of motion."""

from __future__ import annotations

from xml.sax.saxutils import quoteattr

import numpy as np

from control_stack.arm.load import NO_LOAD, Load
from control_stack.arm.parameters import ArmParameters, rpy_of_rotation
from control_stack.types import Array

_COLOURS = ("0.90 0.91 0.93 1", "0.36 0.42 0.50 1")  # links by turns
_LOAD_COLOUR = "0.84 0.37 0.00 1"
_ROD_RADIUS = 0.012  # m
# Bullet takes 1 kg and 1 kg m^2 for a link without.
_MASSLESS = """
    <inertial><mass value="0"/><inertia ixx="0" ixy="0" ixz="0" iyy="0" iyz="0" izz="0"/></inertial>"""


def arm_urdf(arm: ArmParameters, load: Load = NO_LOAD) -> str:
    """Links ``base``, one per joint, and the fixed ``flange``; the last moving link carries the load.

    Inertias are written in principal axes, which every reader takes exactly (Bullet diagonalises others to
    1e-4). The shapes are cylinders from joint to joint, for pictures; they hold no inertia.
    """
    names = ["base", *(f"link{i + 1}" for i in range(arm.joints))]
    parts = [f'  <link name="base">{_cylinder(np.zeros(3), arm.joint_origin[0], 1.2 * arm.radius[0], 0)}\n  </link>\n']
    ends = [*arm.joint_origin[1:], arm.flange_origin]
    for i, name in enumerate(names[1:]):
        mass, centre, inertia = _composite(arm, load) if i == arm.joints - 1 else _body(arm, i)
        shape = _cylinder(np.zeros(3), ends[i], arm.radius[i], i + 1)
        low, high = arm.position_lower[i], arm.position_upper[i]
        speed, torque = arm.velocity_limit[i], arm.torque_limit[i]
        parts.append(
            f'  <link name="{name}">{_inertial(mass, centre, inertia)}{shape}\n  </link>\n'
            f'  <joint name={quoteattr(arm.joint_names[i])} type="revolute">\n'
            f'    <parent link="{names[i]}"/><child link="{name}"/>\n'
            f"    {_origin(arm.joint_origin[i], arm.joint_rotation[i])}\n"
            f'    <axis xyz="0 0 1"/>\n'
            f'    <limit lower="{low:.17g}" upper="{high:.17g}" velocity="{speed:.17g}" effort="{torque:.17g}"/>\n'
            f"  </joint>\n"
        )
    parts.append(
        f'  <link name="flange">{_MASSLESS}{_held(load)}\n  </link>\n'
        f'  <joint name="flange_joint" type="fixed">\n'
        f'    <parent link="{names[-1]}"/><child link="flange"/>\n'
        f"    {_origin(arm.flange_origin, arm.flange_rotation)}\n"
        f"  </joint>\n"
    )
    return f'<?xml version="1.0"?>\n<robot name={quoteattr(arm.name)}>\n{"".join(parts)}</robot>\n'


def _body(arm: ArmParameters, i: int) -> tuple[float, Array, Array]:
    return float(arm.mass[i]), arm.centre_of_mass[i], arm.inertia[i]


def _composite(arm: ArmParameters, load: Load) -> tuple[float, Array, Array]:
    """Mass, centre and inertia about it, of the last link with the load, in the link's frame."""
    mass, centre, inertia = _body(arm, arm.joints - 1)
    turn = arm.flange_rotation
    where = arm.flange_origin + turn @ load.centre
    total = mass + load.mass
    middle = (mass * centre + load.mass * where) / total
    apart = where - centre
    reduced = mass * load.mass / total
    spread = reduced * (apart @ apart * np.eye(3) - np.outer(apart, apart))
    return total, middle, inertia + turn @ load.inertia @ turn.T + spread


def _inertial(mass: float, centre: Array, inertia: Array) -> str:
    moments, axes = np.linalg.eigh(inertia)
    if np.linalg.det(axes) < 0.0:
        axes = axes * np.array([-1.0, 1.0, 1.0])
    # At the bound of what a body can have, rounding must not cross it: Bullet would take no inertia at all.
    moments[2] = min(moments[2], moments[0] + moments[1])
    xx, yy, zz = moments.tolist()
    return (
        f"\n    <inertial>{_origin(centre, axes)}"
        f'<mass value="{mass:.17g}"/>'
        f'<inertia ixx="{xx:.17g}" ixy="0" ixz="0" iyy="{yy:.17g}" iyz="0" izz="{zz:.17g}"/></inertial>'
    )


def _origin(offset: Array, rotation: Array) -> str:
    return f'<origin xyz="{_numbers(offset)}" rpy="{_numbers(rpy_of_rotation(rotation))}"/>'


def _cylinder(start: Array, end: Array, radius: float, number: int) -> str:
    """A cylinder between two points of a link's frame; a ball where they coincide."""
    along = np.asarray(end, dtype=float) - start
    length = float(np.linalg.norm(along))
    # Balls of neighbours in one place differ in size, or a picture shows specks of both.
    ball = f'<geometry><sphere radius="{(1.15 + 0.05 * (number % 2)) * radius:.9g}"/></geometry>'
    shapes = [f'<origin xyz="{_numbers(start)}"/>{ball}']
    if length > 1e-6:
        z = along / length
        aside = np.eye(3)[int(np.argmin(np.abs(z)))]
        x = np.cross(aside, z) / np.linalg.norm(np.cross(aside, z))
        turn = np.stack([x, np.cross(z, x), z], axis=1)
        geometry = f'<geometry><cylinder radius="{radius:.9g}" length="{length:.9g}"/></geometry>'
        shapes.append(f"{_origin(start + 0.5 * along, turn)}{geometry}")
    colour = f'<material name="colour_{number % 2}"><color rgba="{_COLOURS[number % 2]}"/></material>'
    return "".join(f"\n    <visual>{s}{colour}</visual>\n    <collision>{s}</collision>" for s in shapes)


def _held(load: Load) -> str:
    """A ball of water's density at the load's centre of mass, on a rod from the flange."""
    if load.mass == 0.0:
        return ""
    radius = (load.mass / 1000.0 * 3.0 / (4.0 * np.pi)) ** (1.0 / 3.0)
    shape = f'<origin xyz="{_numbers(load.centre)}"/><geometry><sphere radius="{radius:.9g}"/></geometry>'
    colour = f'<material name="load"><color rgba="{_LOAD_COLOUR}"/></material>'
    ball = f"\n    <visual>{shape}{colour}</visual>\n    <collision>{shape}</collision>"
    return _cylinder(np.zeros(3), load.centre, _ROD_RADIUS, 0) + ball


def _numbers(values: Array) -> str:
    return " ".join(f"{v:.17g}" for v in np.asarray(values, dtype=float).tolist())

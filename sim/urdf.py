"""URDF of a quadrotor, written from the same parameters as the equations of motion."""

from __future__ import annotations

from xml.sax.saxutils import quoteattr

import numpy as np

from control_stack.quadrotor.parameters import QuadrotorParameters
from control_stack.types import Array

_ROTOR_COLORS = {1.0: "0.2 0.2 0.2 0.6", -1.0: "0.8 0.3 0.1 0.6"}  # by spin, as seen in a viewer


def quadrotor_urdf(parameters: QuadrotorParameters, offset_b: Array) -> str:
    """One link whose origin is the composite centre of mass.

    Args:
        parameters: What is flown, payload included.
        offset_b: (3,) from the airframe's own centre of mass to the composite one, m; the collision box
            (``body_size``, m) stays with the airframe.
    """
    mass, (jx, jy, jz) = float(parameters.mass), np.asarray(parameters.inertia, dtype=float)
    box = _numbers(parameters.body_size)
    origin = _numbers(-np.asarray(offset_b, dtype=float))
    places = np.asarray(parameters.rotor_position, dtype=float)
    # Discs that do not overlap: 90 % of half the smallest distance between rotors.
    gaps = np.linalg.norm(places[:, None] - places[None], axis=-1)
    radius = 0.45 * gaps[gaps > 0.0].min()
    spins = np.asarray(parameters.rotor_spin, dtype=float)
    rotors = "".join(
        f"""
    <visual>
      <origin xyz="{_numbers(place)}"/>
      <geometry><cylinder radius="{radius:.9g}" length="{0.05 * radius:.9g}"/></geometry>
      <material name="spin_{spin:+.0f}"><color rgba="{_ROTOR_COLORS[spin]}"/></material>
    </visual>"""
        for place, spin in zip(places, spins.tolist(), strict=True)
    )
    return f"""<?xml version="1.0"?>
<robot name={quoteattr(parameters.name)}>
  <link name="base_link">
    <inertial>
      <mass value="{mass:.17g}"/>
      <inertia ixx="{jx:.17g}" iyy="{jy:.17g}" izz="{jz:.17g}" ixy="0" ixz="0" iyz="0"/>
    </inertial>
    <collision><origin xyz="{origin}"/><geometry><box size="{box}"/></geometry></collision>
    <visual><origin xyz="{origin}"/><geometry><box size="{box}"/></geometry></visual>{rotors}
  </link>
</robot>
"""


def _numbers(values: Array) -> str:
    return " ".join(f"{v:.9g}" for v in np.asarray(values, dtype=float).tolist())

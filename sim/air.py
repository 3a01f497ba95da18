"""What the linear drag of a vehicle file leaves out, as a force of the air on the whole airframe.

With the airspeed v = R^T (velocity - wind) in the body frame and the box of ``body_size``, sides s:

    drag:   -1/2 rho C A_i |v| v_i,    A_x = f s_y s_z,  A_y = f s_x s_z,  A_z = f s_x s_y
    thrust: + m k (v_x^2 + v_y^2) along body z

The first is the drag of the body, which grows with the square of the airspeed, while that of the rotors, which the
vehicle file tells, is linear. The second is the thrust that rotors gain in air that crosses them; k as identified by
Faessler, Franchi, Scaramuzza 2018 (IEEE RA-L 3(2)) on a quadrotor of theirs. C = 1.05 is a cube's (Hoerner
1965, Fluid-Dynamic Drag, chapter 3); f, the share of the box that is not empty, is a choice.
"""

from __future__ import annotations

import math

import numpy as np

from control_stack.algebra import rotate, rotate_inverse
from control_stack.errors import UnknownName
from control_stack.quadrotor.parameters import QuadrotorParameters
from control_stack.types import Array

MODELS = ("linear", "full")
DENSITY = 1.225  # kg/m^3, ISA at sea level
CUBE = 1.05  # drag coefficient
FILLED = 0.5  # share of the bounding box
LIFT = 0.009  # 1/m


def check_air(name: str) -> str:
    """The name of a model of the air. Raises UnknownName."""
    if name not in MODELS:
        raise UnknownName("model of the air", name, MODELS)
    return name


class BodyDrag:
    """The force above, for one vehicle."""

    def __init__(self, parameters: QuadrotorParameters):
        x, y, z = (float(s) for s in parameters.body_size)
        scale = 0.5 * DENSITY * CUBE * FILLED
        self._drag = (scale * y * z, scale * x * z, scale * x * y)  # N s^2/m^2
        self._lift = LIFT * float(parameters.mass)

    def force_w(self, velocity_w: Array, quat_xyzw: Array, wind_w: Array) -> Array:
        """(3,) N, world."""
        q = tuple(quat_xyzw.tolist())
        v = rotate_inverse(q, tuple((velocity_w - wind_w).tolist()))  # type: ignore[arg-type]
        speed = math.sqrt(v[0] * v[0] + v[1] * v[1] + v[2] * v[2])
        x, y, z = (-c * speed * s for c, s in zip(self._drag, v, strict=True))
        lift = self._lift * (v[0] * v[0] + v[1] * v[1])
        return np.array(rotate(q, (x, y, z + lift)))  # type: ignore[arg-type]

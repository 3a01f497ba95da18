"""What an arm holds: mass, centre of mass and inertia in the flange's frame."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike

from control_stack.arm.chain import inertia_about_origin
from control_stack.errors import InvalidInput
from control_stack.types import Array


def is_physical(inertia: Array) -> bool:
    """Whether a matrix (3, 3), kg m^2, can be that of a body: symmetric, and no moment above the others' sum."""
    scale = float(np.abs(inertia).max()) or 1.0
    if np.abs(inertia - inertia.T).max() > 1e-9 * scale:
        return False
    moments = np.linalg.eigvalsh(inertia)
    return bool(moments[0] >= -1e-9 * scale and 2.0 * moments[2] <= moments.sum() + 1e-9 * scale)


@dataclass(frozen=True)
class Load:
    """A rigid body fixed to the flange.

    Attributes:
        mass: kg, 0 for none.
        centre: (3,) centre of mass in the flange's frame, m.
        inertia: (3, 3) about the centre of mass in the flange's axes, kg m^2.
    """

    mass: float = 0.0
    centre: Array = field(default_factory=lambda: np.zeros(3))
    inertia: Array = field(default_factory=lambda: np.zeros((3, 3)))

    def __post_init__(self) -> None:
        centre, inertia = np.array(self.centre, dtype=float), np.array(self.inertia, dtype=float)
        if centre.shape != (3,) or inertia.shape != (3, 3):
            raise InvalidInput(
                f"a load needs a centre of 3 and an inertia of 3 x 3, got {centre.shape}, {inertia.shape}"
            )
        if not (math.isfinite(self.mass) and np.isfinite(centre).all() and np.isfinite(inertia).all()):
            raise InvalidInput("a load must be finite")
        if self.mass < 0.0:
            raise InvalidInput(f"a load's mass must not be negative, got {self.mass:g} kg")
        if not is_physical(inertia):
            raise InvalidInput(f"no rigid body has the inertia {inertia.tolist()}")
        object.__setattr__(self, "centre", centre)
        object.__setattr__(self, "inertia", inertia)

    @classmethod
    def box(cls, mass: float, size: ArrayLike, centre: ArrayLike) -> Load:
        """A box of even density. size: (3,) edges along the flange's axes, m; centre: (3,) of it, m."""
        squares = np.asarray(size, dtype=float) ** 2
        if squares.shape != (3,):
            raise InvalidInput("a box has three edges")
        return cls(mass, np.asarray(centre, dtype=float), np.diag(mass / 12.0 * (squares.sum() - squares)))

    @property
    def parameters(self) -> Array:
        """(10,) the model's p: m, m cx, m cy, m cz, Ixx, Ixy, Ixz, Iyy, Iyz, Izz about the flange's origin."""
        return np.array(inertia_about_origin(self.mass, self.centre, self.inertia))


NO_LOAD = Load()
LOAD_NAMES = tuple(
    f"load.{name}"
    for name in ("mass [kg]", *(f"m c.{axis} [kg m]" for axis in "xyz"))
    + tuple(f"inertia.{pair} [kg m^2]" for pair in ("xx", "xy", "xz", "yy", "yz", "zz"))
)

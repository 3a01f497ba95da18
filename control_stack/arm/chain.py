"""A chain of turning joints as numbers that the algorithms of ``rigid_body`` run over.

Joint i turns its link about the z axis of the link's own frame; at angle 0 that frame stands at a constant
placement in the frame of the link before. An inertia is ten numbers about a frame's origin in the frame's axes,

    (m, m cx, m cy, m cz, Ixx, Ixy, Ixz, Iyy, Iyz, Izz)        kg, kg m, kg m^2,

in which the equations of motion are linear; inertias of bodies that move together add.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from control_stack.algebra import Scalar, Vector, add, dot
from control_stack.types import Array

INERTIA_SIZE = 10
Inertia = tuple[Scalar, ...]
NO_INERTIA: Inertia = (0.0,) * INERTIA_SIZE
# Of each row of a constant matrix, (column, value) where it is not zero: most are of quarter turns.
Rows = tuple[tuple[tuple[int, float], ...], ...]


class Placement(NamedTuple):
    """A frame in another: v_outer = rotation v_inner + offset (m). ``inverse`` holds the rows of rotation^T."""

    rotation: Rows
    inverse: Rows
    offset: tuple[float, float, float]


class Chain(NamedTuple):
    """Placement and inertia of every link, first to last, and the flange in the last link's frame."""

    placements: tuple[Placement, ...]
    inertias: tuple[Inertia, ...]
    flange: Placement


def placement(rotation: Array, offset: Array) -> Placement:
    """Of a rotation (3, 3) and an offset (3,), m. What rounding left of zeros and ones (1e-15) is cut off."""
    exact = np.where(np.abs(rotation - np.round(rotation)) < 1e-15, np.round(rotation), rotation)

    def rows(matrix: Array) -> Rows:
        return tuple(tuple((k, v) for k, v in enumerate(row) if v != 0.0) for row in matrix.tolist())

    return Placement(rows(exact), rows(exact.T), tuple(np.asarray(offset, dtype=float).tolist()))  # type: ignore[arg-type]


def apply(rows: Rows, v: Vector) -> Vector:
    """The constant matrix times v."""
    x, y, z = (_combination(row, v) for row in rows)
    return (x, y, z)


def _combination(row: tuple[tuple[int, float], ...], v: Vector) -> Scalar:
    total: Scalar = None
    for k, value in row:
        term = v[k] if value == 1.0 else -v[k] if value == -1.0 else value * v[k]
        total = term if total is None else total + term
    return total  # a rotation has no row of zeros


def sum_inertia(a: Inertia, b: Inertia) -> Inertia:
    """Of two bodies that move as one, both about the same origin in the same axes."""
    return tuple(x + y for x, y in zip(a, b, strict=True))


def columns_of(inertia: Inertia) -> tuple[Vector, Vector, Vector]:
    """Columns of the 3 x 3 matrix of second moments."""
    _, _, _, _, xx, xy, xz, yy, yz, zz = inertia
    return (xx, xy, xz), (xy, yy, yz), (xz, yz, zz)


def move_inertia(inertia: Inertia, turn: Callable[[Vector], Vector], offset: Vector) -> Inertia:
    """The inertia about the origin of an outer frame.

    With h' = R h:  h_outer = m r + h',  I_outer = R I R^T + m (r.r 1 - r r^T) + 2 (r.h') 1 - r h'^T - h' r^T

    Args:
        inertia: About the inner frame's origin, in its axes.
        turn: v -> R v, inner to outer.
        offset: r, of the inner origin in the outer frame, m.
    """
    m, h, r = inertia[0], turn(inertia[1:4]), offset  # type: ignore[arg-type]
    a, b, c = (turn(column) for column in columns_of(inertia))
    x = turn((a[0], b[0], c[0]))
    y = turn((a[1], b[1], c[1]))
    z = turn((a[2], b[2], c[2]))
    first = add((m * r[0], m * r[1], m * r[2]), h)
    # m r r^T + r h^T + h r^T = r first^T + h r^T, entry by entry
    trace = dot(r, first) + dot(h, r)

    def product(i: int, k: int) -> Scalar:
        return r[i] * first[k] + h[i] * r[k]

    return (
        m,
        *first,
        x[0] + trace - product(0, 0),
        x[1] - product(0, 1),
        x[2] - product(0, 2),
        y[1] + trace - product(1, 1),
        y[2] - product(1, 2),
        z[2] + trace - product(2, 2),
    )


def inertia_about_origin(mass: float, centre: Array, about_centre: Array) -> Inertia:
    """Of a body of mass (kg) with its centre of mass at ``centre`` (3,), m, and a matrix (3, 3) about it, kg m^2."""
    c, i = np.asarray(centre, dtype=float), np.asarray(about_centre, dtype=float)
    full = i + mass * (c @ c * np.eye(3) - np.outer(c, c))
    h = (mass * c).tolist()
    return (float(mass), *h, *full[np.triu_indices(3)].tolist())

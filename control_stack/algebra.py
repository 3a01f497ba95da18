"""Vector and quaternion algebra on tuples of components.

A vector is a tuple of scalars ``(x, y, z)``, a quaternion ``(x, y, z, w)``. A *scalar* is anything with
arithmetic: a Python float, a NumPy array or torch tensor of any batch shape, or a CasADi ``SX``. Every law
and model written with these functions therefore exists once and runs on all four; floats are the fast path of
a 100 Hz node (np.cross on three numbers costs more than a whole attitude law on floats).
"""

from __future__ import annotations

import math
import sys
from typing import Any

Scalar = Any
Vector = tuple[Scalar, Scalar, Scalar]
Quaternion = tuple[Scalar, Scalar, Scalar, Scalar]


def _namespace(x: Scalar) -> Any:
    """The module that owns ``x``: numpy, torch or casadi (already imported, since x exists)."""
    return sys.modules[type(x).__module__.partition(".")[0]]


def sqrt(x: Scalar) -> Scalar:
    """Square root."""
    return math.sqrt(x) if type(x) is float else x**0.5


def sin(x: Scalar) -> Scalar:
    """Sine of x rad."""
    return math.sin(x) if isinstance(x, (float, int)) else _namespace(x).sin(x)


def cos(x: Scalar) -> Scalar:
    """Cosine of x rad."""
    return math.cos(x) if isinstance(x, (float, int)) else _namespace(x).cos(x)


def exp(x: Scalar) -> Scalar:
    """e^x."""
    return math.exp(x) if isinstance(x, (float, int)) else _namespace(x).exp(x)


def tanh(x: Scalar) -> Scalar:
    """Hyperbolic tangent."""
    return math.tanh(x) if isinstance(x, (float, int)) else _namespace(x).tanh(x)


def arctan2(y: Scalar, x: Scalar) -> Scalar:
    """Angle of the point (x, y) in (-pi, pi], rad."""
    return math.atan2(y, x) if isinstance(x, (float, int)) else _namespace(x).arctan2(y, x)


def where(condition: Scalar, a: Scalar, b: Scalar) -> Scalar:
    """``a`` where the condition holds, else ``b``, element by element.

    With torch at least one of them must be a tensor: of two Python floats torch.where makes its default type,
    float32, whatever the caller computes in.
    """
    if isinstance(condition, bool):
        return a if condition else b
    namespace = _namespace(condition)
    if namespace.__name__ == "casadi":
        return namespace.if_else(condition, a, b)
    return namespace.where(condition, a, b)


def minimum(a: Scalar, b: Scalar) -> Scalar:
    """The smaller, element by element."""
    if type(a) is float and type(b) is float:
        return a if a < b else b
    return where(a < b, a, b)


def maximum(a: Scalar, b: Scalar) -> Scalar:
    """The larger, element by element."""
    if type(a) is float and type(b) is float:
        return a if a > b else b
    return where(a > b, a, b)


def clip(x: Scalar, low: Scalar, high: Scalar) -> Scalar:
    """x limited to [low, high]; NaN becomes ``low``."""
    return minimum(maximum(x, low), high)


def add(a: Vector, b: Vector) -> Vector:
    """a + b."""
    return (a[0] + b[0], a[1] + b[1], a[2] + b[2])


def subtract(a: Vector, b: Vector) -> Vector:
    """a - b."""
    return (a[0] - b[0], a[1] - b[1], a[2] - b[2])


def scale(s: Scalar, a: Vector) -> Vector:
    """s a."""
    return (s * a[0], s * a[1], s * a[2])


def dot(a: Vector, b: Vector) -> Scalar:
    """a . b."""
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def cross(a: Vector, b: Vector) -> Vector:
    """a x b, right-handed."""
    return (a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0])


def norm(a: Vector) -> Scalar:
    """Euclidean length."""
    return sqrt(dot(a, a))


def quat_multiply(p: Quaternion, q: Quaternion) -> Quaternion:
    """Hamilton product p * q, xyzw."""
    px, py, pz, pw = p
    qx, qy, qz, qw = q
    return (
        pw * qx + px * qw + py * qz - pz * qy,
        pw * qy - px * qz + py * qw + pz * qx,
        pw * qz + px * qy - py * qx + pz * qw,
        pw * qw - px * qx - py * qy - pz * qz,
    )


def quat_conjugate(q: Quaternion) -> Quaternion:
    """(-x, -y, -z, w): the inverse of a unit quaternion."""
    return (-q[0], -q[1], -q[2], q[3])


def quat_normalize(q: Quaternion) -> Quaternion:
    """q / |q|."""
    n = sqrt(q[0] * q[0] + q[1] * q[1] + q[2] * q[2] + q[3] * q[3])
    return (q[0] / n, q[1] / n, q[2] / n, q[3] / n)


def rotate(q: Quaternion, v: Vector) -> Vector:
    """R(q) v for a unit quaternion: body to world if q is the attitude. v + 2 w (u x v) + 2 u x (u x v)."""
    x, y, z, w = q
    tx, ty, tz = 2 * (y * v[2] - z * v[1]), 2 * (z * v[0] - x * v[2]), 2 * (x * v[1] - y * v[0])
    return (
        v[0] + w * tx + y * tz - z * ty,
        v[1] + w * ty + z * tx - x * tz,
        v[2] + w * tz + x * ty - y * tx,
    )


def rotate_inverse(q: Quaternion, v: Vector) -> Vector:
    """R(q)^T v: world to body if q is the attitude."""
    return rotate(quat_conjugate(q), v)


def body_axes(q: Quaternion) -> tuple[Vector, Vector, Vector]:
    """Columns of R(q): the body's x, y and z axes in the world."""
    x, y, z, w = q
    return (
        (1 - 2 * (y * y + z * z), 2 * (x * y + z * w), 2 * (x * z - y * w)),
        (2 * (x * y - z * w), 1 - 2 * (x * x + z * z), 2 * (y * z + x * w)),
        (2 * (x * z + y * w), 2 * (y * z - x * w), 1 - 2 * (x * x + y * y)),
    )


def quat_from_axes(bx: Vector, by: Vector, bz: Vector) -> Quaternion:
    """Unit quaternion of the rotation whose columns are bx, by, bz.

    Each |component| follows from the diagonal, its sign from the off-diagonal; the largest is used as pivot
    (Shepperd 1978), chosen without branches so that arrays and symbols take the same path.
    """
    m00, m11, m22 = bx[0], by[1], bz[2]
    candidates = (
        (1 + m00 - m11 - m22, bx[1] + by[0], bx[2] + bz[0], by[2] - bz[1]),
        (bx[1] + by[0], 1 - m00 + m11 - m22, by[2] + bz[1], bz[0] - bx[2]),
        (bx[2] + bz[0], by[2] + bz[1], 1 - m00 - m11 + m22, bx[1] - by[0]),
        (by[2] - bz[1], bz[0] - bx[2], bx[1] - by[0], 1 + m00 + m11 + m22),
    )
    best, pivot = candidates[3], candidates[3][3]
    for i in range(3):
        larger = candidates[i][i] > pivot
        pivot = where(larger, candidates[i][i], pivot)
        best = tuple(where(larger, c, b) for c, b in zip(candidates[i], best, strict=True))
    return quat_normalize(best)  # type: ignore[arg-type]


def quat_from_yaw(yaw: Scalar) -> Quaternion:
    """Rotation by yaw rad about z, counter-clockwise from above."""
    half = 0.5 * yaw
    return (0.0 * half, 0.0 * half, sin(half), cos(half))


def yaw_of(q: Quaternion) -> Scalar:
    """Heading of the body's x axis, rad, in (-pi, pi]."""
    x, y, z, w = q
    return arctan2(2 * (x * y + z * w), 1 - 2 * (y * y + z * z))

"""Energies of whatever rides on the flange, as functions of the flange's motion, written once over components.

    T = 1/2 v^T S v,   V = g (c_0 h + c . n)        v: twist of the flange in its own axes, velocity first (6),
                                                    h: its height, m; n: the vertical in its axes (3)

S is any symmetric matrix, not only that of a rigid body. With momentum (p, l) = S v the Euler-Lagrange equations of
these energies are Kirchhoff's: the wrench at the flange is (p' + w x p + g c_0 n, l' + w x l + u x p + g c x n), and
the joints feel it through the Jacobian. It is linear in the ``code`` (S by rows of its upper triangle, then c_0, c):
CODE_SIZE numbers, all zero for an empty flange.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from control_stack.algebra import Scalar, Vector, add, cross, dot, exp, minimum, scale, subtract, where
from control_stack.arm.chain import Chain, Placement, apply, columns_of, move_inertia
from control_stack.quadrotor.parameters import GRAVITY
from control_stack.types import Array

TWIST = 6
UPPER = np.triu_indices(TWIST)
S_SIZE = len(UPPER[0])
CODE_SIZE = S_SIZE + 4
_LEAST = 0.1  # of a pivot of the last link's inertia, that stays whatever a code takes away
_AT = {(int(i), int(k)): at for at, (i, k) in enumerate(zip(*UPPER, strict=True))}
_TIMES = np.zeros((TWIST, S_SIZE, TWIST))  # (S x)_i = _TIMES_ick S_c x_k
for (_i, _k), _c in _AT.items():
    _TIMES[_i, _c, _k] = _TIMES[_k, _c, _i] = 1.0
Columns = tuple[Scalar, ...]


def at(i: int, k: int) -> int:
    """Place of S_ik in a code."""
    return _AT[min(i, k), max(i, k)]


class Motion(NamedTuple):
    """Of the flange in its own axes: velocity (m/s), rates (rad/s), their derivatives as components, the vertical."""

    velocity: Vector
    omega: Vector
    acceleration: Vector
    alpha: Vector
    vertical: Vector


def _turn(frame: Placement, angle: tuple[Scalar, Scalar], v: Vector) -> Vector:
    c, s = angle
    x, y, z = apply(frame.inverse, v)
    return (c * x + s * y, c * y - s * x, z)


def _turn_back(frame: Placement, angle: tuple[Scalar, Scalar], v: Vector) -> Vector:
    c, s = angle
    return apply(frame.rotation, (c * v[0] - s * v[1], s * v[0] + c * v[1], v[2]))


def flange_motion(chain: Chain, angles: Any, qd: Columns, qdd: Columns) -> Motion:
    """angles: (cosine, sine) of every joint's angle; qd, qdd: rad/s, rad/s^2."""
    still: Vector = (0.0, 0.0, 0.0)
    v, omega, a, alpha, up = still, still, still, still, (0.0, 0.0, 1.0)
    fixed = ((1.0, 0.0), 0.0, 0.0)
    for frame, (angle, rate, push) in zip(
        (*chain.placements, chain.flange), [*zip(angles, qd, qdd, strict=True), fixed], strict=True
    ):
        r = frame.offset
        v = add(v, cross(omega, r))
        a = add(a, add(cross(alpha, r), cross(omega, cross(omega, r))))
        v, omega, a, alpha, up = (_turn(frame, angle, part) for part in (v, omega, a, alpha, up))
        alpha = (alpha[0] + omega[1] * rate, alpha[1] - omega[0] * rate, alpha[2] + push)
        omega = (omega[0], omega[1], omega[2] + rate)
    return Motion(v, omega, subtract(a, cross(omega, v)), alpha, up)


def wrench(motion: Motion, code: Columns) -> tuple[Vector, Vector]:
    """Force (N) and moment (N m) at the flange, in its axes, that the motion takes."""
    v, omega, up = motion.velocity, motion.omega, motion.vertical
    p, spin = _times(code, v, omega)
    dp, dspin = _times(code, motion.acceleration, motion.alpha)
    force = add(add(dp, cross(omega, p)), scale(GRAVITY * code[S_SIZE], up))
    hanging = scale(GRAVITY, cross(code[S_SIZE + 1 :], up))  # type: ignore[arg-type]
    return force, add(add(add(dspin, cross(omega, spin)), cross(v, p)), hanging)


def _times(code: Columns, linear: Vector, angular: Vector) -> tuple[Vector, Vector]:
    """S times a twist."""
    x = (*linear, *angular)
    rows = []
    for i in range(TWIST):
        total = code[at(0, i)] * x[0]
        for k in range(1, TWIST):
            total = total + code[at(i, k)] * x[k]
        rows.append(total)
    return tuple(rows[:3]), tuple(rows[3:])  # type: ignore[return-value]


def joint_torques(chain: Chain, angles: Any, force: Vector, moment: Vector) -> Columns:
    """J^T times a wrench at the flange in its axes: (n,) N m."""
    tau = []
    still = (1.0, 0.0)
    # Each wrench is moved into the frame that carries it; the last one read is that at the first joint.
    frames = (chain.flange, *reversed(chain.placements[1:]))
    for frame, angle in zip(frames, (still, *reversed(angles[1:])), strict=True):
        force = _turn_back(frame, angle, force)
        moment = add(_turn_back(frame, angle, moment), cross(frame.offset, force))
        tau.append(moment[2])
    return tuple(reversed(tau))


def code_torques(chain: Chain, angles: Any, qd: Columns, qdd: Columns, code: Columns) -> Columns:
    """(n,) N m that the code adds to the arm's."""
    return joint_torques(chain, angles, *wrench(flange_motion(chain, angles, qd, qdd), code))


def regressor(chain: Chain, q: Array, qd: Array, qdd: Array) -> Array:
    """(..., n, CODE_SIZE) of (..., n) joints: torques are ``regressor @ code``. One sample runs on floats: faster."""
    batch = q.shape[:-1]
    turns = [a.tolist() if not batch else list(np.moveaxis(a, -1, 0)) for a in (np.cos(q), np.sin(q), qd, qdd)]
    angles = tuple(zip(turns[0], turns[1], strict=True))
    motion = flange_motion(chain, angles, tuple(turns[2]), tuple(turns[3]))

    def stacked(columns: Any) -> Array:
        return np.stack([np.broadcast_to(part, batch) for part in columns], axis=-1)

    twist, rate = stacked((*motion.velocity, *motion.omega)), stacked((*motion.acceleration, *motion.alpha))
    v, omega, up = _skew(twist[..., :3]), _skew(twist[..., 3:]), stacked(motion.vertical)
    carried = np.block([[omega, np.zeros_like(omega)], [v, omega]])
    moving = np.einsum("ick,...k->...ic", _TIMES, rate) + carried @ np.einsum("ick,...k->...ic", _TIMES, twist)
    hanging = np.zeros((*batch, TWIST, 4))
    hanging[..., :3, 0] = GRAVITY * up
    hanging[..., 3:, 1:] = -GRAVITY * _skew(up)  # c x n = -n x c
    units = [tuple(np.asarray(c)[..., None] for c in pair) for pair in angles]
    jacobian = joint_torques(chain, units, tuple(np.eye(TWIST)[:3]), tuple(np.eye(TWIST)[3:]))  # type: ignore[arg-type]
    turned = np.stack([np.broadcast_to(row, (*batch, TWIST)) for row in jacobian], axis=-2)
    return turned @ np.concatenate([moving, hanging], axis=-1)


def _skew(v: Array) -> Array:
    """(..., 3) -> (..., 3, 3) of the cross product."""
    zero, (x, y, z) = np.zeros(v.shape[:-1]), np.moveaxis(v, -1, 0)
    return np.stack([zero, -z, y, z, zero, -x, -y, x, zero], axis=-1).reshape(*v.shape, 3)


def code_energy(motion: Motion, height: Scalar, code: Columns) -> tuple[Scalar, Scalar]:
    """Kinetic and potential energy, J; height: of the flange, m."""
    p, spin = _times(code, motion.velocity, motion.omega)
    kinetic = 0.5 * (dot(motion.velocity, p) + dot(motion.omega, spin))
    return kinetic, GRAVITY * (code[S_SIZE] * height + dot(code[S_SIZE + 1 :], motion.vertical))  # type: ignore[arg-type]


def last_link(chain: Chain) -> Array:
    """(6, 6) inertia of the last link in twists of the flange: kg, kg m, kg m^2."""
    flange = chain.flange
    back = tuple(-x for x in apply(flange.inverse, flange.offset))
    moved = move_inertia(chain.inertias[-1], lambda v: apply(flange.inverse, v), back)  # type: ignore[arg-type]
    return spatial(moved)


def spatial(inertia: Columns) -> Array:
    """(6, 6) of the ten numbers of ``arm.chain``, of floats."""
    m, hx, hy, hz = inertia[:4]
    skew = np.array([[0.0, -hz, hy], [hz, 0.0, -hx], [-hy, hx, 0.0]])
    return np.block([[m * np.eye(3), -skew], [skew, np.array(columns_of(inertia))]])


def load_code(load: Array) -> Array:
    """(CODE_SIZE,) of a rigid load's ten numbers: what a context has to say of it, for tests and figures."""
    return np.concatenate([spatial(tuple(load))[UPPER], load[:4]])


def guarded(code: Columns, base: Array) -> Columns:
    """The code with S raised where the last link and S together would not be positive definite.

    With base + S = L D L^T, each pivot D_i below half of the base's is replaced by one above zero and its column is
    shrunk; above that nothing changes, and a code of zeros stays as it is.

    Args:
        code: (CODE_SIZE,) scalars.
        base: (6, 6) ``last_link``.
    """
    floors = np.diag(np.linalg.cholesky(base)) ** 2
    lower: list[list[Scalar]] = [[] for _ in range(TWIST)]  # rows of L D
    unit: list[list[Scalar]] = [[] for _ in range(TWIST)]  # rows of L
    result = list(code)
    for i in range(TWIST):
        for j in range(i, TWIST):
            value = code[at(i, j)] + float(base[i, j])
            for a, b in zip(lower[i][:i], unit[j][:i], strict=True):
                value = value - a * b
            if j == i:
                pivot, kept = _raised(value, float(floors[i]))
                result[at(i, i)] = code[at(i, i)] + (pivot - value)
            else:
                lower[j].append(kept * value)
                unit[j].append(kept * value / pivot)
                result[at(i, j)] = code[at(i, j)] + (kept - 1.0) * value
    return tuple(result)


def _raised(pivot: Scalar, floor: float) -> tuple[Scalar, Scalar]:
    """The pivot down to half of the floor, smoothly above _LEAST of it below that; what is kept of its column.

    A large column over a raised pivot would make a large inertia out of a negative one.
    """
    share = pivot * (1.0 / floor)
    half, zero = share * 0.0 + 0.5, share * 0.0  # of the scalar's own type
    kept = exp(minimum((share - half) * (1.0 / (0.5 - _LEAST)), zero))
    return floor * where(share < half, _LEAST + (0.5 - _LEAST) * kept, share), kept

"""Rigid-body dynamics of a chain, written once over components (see ``control_stack.algebra``).

    tau = M(q, p) q'' + c(q, q', p) + g(q, p)

q, q', q'' and tau are tuples of n scalars (rad, rad/s, rad/s^2, N m); a scalar is a float, an array, a tensor or
a CasADi symbol. The load p is an inertia of ten numbers (see ``chain``) about the flange's origin in its axes,
appended to the last link: changing it changes numbers, never the graph. Gravity points along -z of the base.

Sources: Featherstone, Rigid Body Dynamics Algorithms (2008): recursive Newton-Euler, composite rigid bodies.
"""

from __future__ import annotations

from collections.abc import Iterable

from control_stack.algebra import Scalar, Vector, add, cos, cross, dot, scale, sin, sqrt, subtract
from control_stack.arm.chain import (
    NO_INERTIA,
    Chain,
    Inertia,
    Placement,
    apply,
    columns_of,
    move_inertia,
    sum_inertia,
)
from control_stack.quadrotor.parameters import GRAVITY

Scalars = tuple[Scalar, ...]
Pose = tuple[Vector, tuple[Vector, Vector, Vector]]  # origin, m, and the three axes, both in the base frame
Turns = list[tuple[Scalar, Scalar]]  # cosine and sine of every joint's angle


def _turns(q: Scalars) -> Turns:
    return [(cos(angle), sin(angle)) for angle in q]


def _to_parent(frame: Placement, turn: tuple[Scalar, Scalar], v: Vector) -> Vector:
    c, s = turn
    return apply(frame.rotation, (c * v[0] - s * v[1], s * v[0] + c * v[1], v[2]))


def _to_child(frame: Placement, turn: tuple[Scalar, Scalar], v: Vector) -> Vector:
    c, s = turn
    x, y, z = apply(frame.inverse, v)
    return (c * x + s * y, c * y - s * x, z)


def _loaded(chain: Chain, load: Inertia) -> tuple[Inertia, ...]:
    """Inertias of the links, that of the last with the load at the flange."""
    flange = chain.flange
    moved = move_inertia(load, lambda v: apply(flange.rotation, v), flange.offset)
    return (*chain.inertias[:-1], sum_inertia(chain.inertias[-1], moved))


def inverse_dynamics(
    chain: Chain, q: Scalars, qd: Scalars, qdd: Scalars, load: Inertia = NO_INERTIA, gravity: float = GRAVITY
) -> Scalars:
    """tau that gives q'' (recursive Newton-Euler), without friction."""
    turns = _turns(q)
    omega: Vector = (0.0, 0.0, 0.0)
    alpha: Vector = (0.0, 0.0, 0.0)
    acceleration: Vector = (0.0, 0.0, gravity)  # a base that accelerates upwards feels gravity
    wrenches = []
    for frame, turn, rate, push, inertia in zip(chain.placements, turns, qd, qdd, _loaded(chain, load), strict=True):
        r = frame.offset
        origin = add(acceleration, add(cross(alpha, r), cross(omega, cross(omega, r))))
        acceleration = _to_child(frame, turn, origin)
        carried = _to_child(frame, turn, omega)
        carried_alpha = _to_child(frame, turn, alpha)
        omega = (carried[0], carried[1], carried[2] + rate)
        alpha = (carried_alpha[0] + carried[1] * rate, carried_alpha[1] - carried[0] * rate, carried_alpha[2] + push)
        m, h, columns = inertia[0], (inertia[1], inertia[2], inertia[3]), columns_of(inertia)
        force = add(cross(alpha, h), cross(omega, cross(omega, h)))
        force = add(force, (m * acceleration[0], m * acceleration[1], m * acceleration[2]))
        spin = tuple(dot(column, omega) for column in columns)
        moment = add(cross(omega, spin), cross(h, acceleration))  # type: ignore[arg-type]
        moment = add(moment, tuple(dot(column, alpha) for column in columns))  # type: ignore[arg-type]
        wrenches.append((force, moment))
    force, moment = wrenches[-1]
    tau = [moment[2]]
    for i in range(len(q) - 1, 0, -1):
        frame, turn = chain.placements[i], turns[i]
        carried_force = _to_parent(frame, turn, force)
        carried_moment = add(_to_parent(frame, turn, moment), cross(frame.offset, carried_force))
        force, moment = add(wrenches[i - 1][0], carried_force), add(wrenches[i - 1][1], carried_moment)
        tau.append(moment[2])
    return tuple(reversed(tau))


def mass_matrix(chain: Chain, q: Scalars, load: Inertia = NO_INERTIA) -> tuple[Scalars, ...]:
    """M(q, p), kg m^2, n rows of n (composite rigid bodies); symmetric and positive definite."""
    turns, n = _turns(q), len(q)
    composite = list(_loaded(chain, load))
    for i in range(n - 1, 0, -1):
        frame, turn = chain.placements[i], turns[i]
        moved = move_inertia(
            composite[i],
            lambda v, frame=frame, turn=turn: _to_parent(frame, turn, v),  # type: ignore[misc]
            frame.offset,
        )
        composite[i - 1] = sum_inertia(composite[i - 1], moved)
    entries: list[list[Scalar]] = [[0.0] * n for _ in range(n)]
    for i in range(n):
        _, hx, hy, _, _, _, xz, _, yz, zz = composite[i]
        force: Vector = (-hy, hx, 0.0)  # of all links from i on, for a unit of acceleration of joint i
        moment: Vector = (xz, yz, zz)
        entries[i][i] = zz
        for k in range(i, 0, -1):
            frame, turn = chain.placements[k], turns[k]
            force = _to_parent(frame, turn, force)
            moment = add(_to_parent(frame, turn, moment), cross(frame.offset, force))
            entries[i][k - 1] = entries[k - 1][i] = moment[2]
    return tuple(tuple(row) for row in entries)


def solve_positive_definite(matrix: tuple[Scalars, ...], right: Scalars) -> Scalars:
    """x of A x = b by Cholesky's factorisation; A is n rows of n, symmetric and positive definite."""
    n = len(right)
    lower: list[list[Scalar]] = []
    y: list[Scalar] = []
    for i in range(n):
        row: list[Scalar] = []
        for k in range(i):
            value = matrix[i][k]
            for a, b in zip(row, lower[k][:k], strict=False):
                value = value - a * b
            row.append(value / lower[k][k])
        rest, value = matrix[i][i], right[i]
        for a, b in zip(row, y, strict=True):
            rest, value = rest - a * a, value - a * b
        row.append(sqrt(rest))
        y.append(value / row[i])
        lower.append(row)
    x = y
    for i in range(n - 1, -1, -1):
        value = y[i]
        for k in range(i + 1, n):
            value = value - lower[k][i] * x[k]
        x[i] = value / lower[i][i]
    return tuple(x)


def forward_dynamics(chain: Chain, q: Scalars, qd: Scalars, tau: Scalars, load: Inertia = NO_INERTIA) -> Scalars:
    """q'' under torques that already have friction taken off, rad/s^2."""
    bias = inverse_dynamics(chain, q, qd, (0.0,) * len(q), load)
    return solve_positive_definite(mass_matrix(chain, q, load), tuple(a - b for a, b in zip(tau, bias, strict=True)))


def joint_poses(chain: Chain, q: Scalars) -> list[Pose]:
    """Pose of every link's frame, first to last, and of the flange, in the base frame."""
    position: Vector = (0.0, 0.0, 0.0)
    axes: tuple[Vector, Vector, Vector] = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
    poses: list[Pose] = []
    still = (1.0, 0.0)
    for frame, (c, s) in zip((*chain.placements, chain.flange), [*_turns(q), still], strict=True):
        position = add(position, _combine(axes, enumerate(frame.offset)))
        x, y, z = (_combine(axes, column) for column in frame.inverse)
        x, y = (
            (c * x[0] + s * y[0], c * x[1] + s * y[1], c * x[2] + s * y[2]),
            (c * y[0] - s * x[0], c * y[1] - s * x[1], c * y[2] - s * x[2]),
        )
        axes = (x, y, z)
        poses.append((position, axes))
    return poses


def _combine(axes: tuple[Vector, Vector, Vector], weights: Iterable[tuple[int, float]]) -> Vector:
    total: Vector = (0.0, 0.0, 0.0)
    for k, weight in weights:
        if weight != 0.0:
            total = add(total, scale(weight, axes[k]))
    return total


def flange_jacobian(chain: Chain, q: Scalars) -> tuple[Scalars, ...]:
    """Six rows of n: velocity of the flange's origin (m/s) and angular velocity (rad/s), base frame, per q'."""
    *links, (end, _) = joint_poses(chain, q)
    columns = [(*cross(axes[2], subtract(end, position)), *axes[2]) for position, axes in links]
    return tuple(zip(*columns, strict=True))


def potential_energy(chain: Chain, q: Scalars, load: Inertia = NO_INERTIA, gravity: float = GRAVITY) -> Scalar:
    """J, zero where all mass lies in the plane z = 0 of the base; g(q) is its gradient."""
    total: Scalar = 0.0
    for (position, axes), inertia in zip(joint_poses(chain, q)[:-1], _loaded(chain, load), strict=True):
        x, y, z = axes
        height = inertia[0] * position[2] + inertia[1] * x[2] + inertia[2] * y[2] + inertia[3] * z[2]
        total = total + gravity * height
    return total

"""Friction of joints as a smooth function of their speed."""

from __future__ import annotations

from typing import NamedTuple

from control_stack.algebra import Scalar, tanh


class Friction(NamedTuple):
    """By joint. amplitude: N m; steepness: s/rad; shift: rad/s; viscous: N m s/rad."""

    amplitude: tuple[float, ...]
    steepness: tuple[float, ...]
    shift: tuple[float, ...]
    viscous: tuple[float, ...]


def friction_torque(qd: tuple[Scalar, ...], friction: Friction) -> tuple[Scalar, ...]:
    """Torque that opposes the motion, N m, zero at rest: d v + A (S(k (v + s)) - S(k s)), S(x) = 1 / (1 + e^-x).

    Source: Gaz et al. 2019, "Dynamic Identification of the Franka Emika Panda Robot With Retrieval of Feasible
    Parameters Using Penalty-Based Optimization", with a viscous term added. Coulomb friction of c N m is A = 2 c.
    S(x) is written as (1 + tanh(x / 2)) / 2, which cannot overflow.
    """
    return tuple(
        d * v + 0.5 * a * (tanh(0.5 * k * (v + s)) - tanh(0.5 * k * s))
        for v, a, k, s, d in zip(qd, *friction, strict=True)
    )

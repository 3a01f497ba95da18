"""Outward rounding: floating-point results turned into numbers that hold in exact arithmetic.

Standard model, N. J. Higham, *Accuracy and Stability of Numerical Algorithms*, 2nd ed., SIAM 2002: with unit
roundoff u = 2^-53 every operation returns (x op y)(1 + d), |d| <= u (eq. 2.4), and a sum of n products, added in
any order, with fused multiply-add or without, satisfies

    |fl(x'y) - x'y| <= gamma_n |x|'|y|,   gamma_n = n u / (1 - n u)          (Lemma 3.1 and eq. 3.5)

Every rule of this package adds up such bounds in an ``error`` and hands it to ``down`` or ``up``. These double it,
which covers the rounding of the error itself (a sum of positive terms, relatively wrong by a few gamma_n << 1), and
allow for the last subtraction. TINY covers underflow, where the relative model does not hold: a product is then off by
at most 2.3e-308 (subnormal numbers flushed to 0), which a later factor may multiply by the largest value in play.
"""

from __future__ import annotations

from control_stack.bounds.arrays import Tensor, namespace

UNIT = 2.0**-53
EPS = 2.0**-52
TINY = 1e-280  # above n 2.3e-308 max|x| for values up to 1e20 and n up to 1e7
# Assumed of numpy.tanh and torch.tanh, relative, in units of EPS; their libraries state 4 or less. A test measures it.
TANH_ULPS = 8.0


def gamma(n: int) -> float:
    """gamma_n = n u / (1 - n u), the bound on the relative error of n roundings."""
    return n * UNIT / (1.0 - n * UNIT)


def down(x: Tensor, error: Tensor | float = 0.0) -> Tensor:
    """A float below every number within ``error``, or one rounding, of x."""
    return x - (2.0 * error + EPS * abs(x) + TINY)


def up(x: Tensor, error: Tensor | float = 0.0) -> Tensor:
    """A float above every number within ``error``, or one rounding, of x."""
    return x + (2.0 * error + EPS * abs(x) + TINY)


def centre_radius(lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
    """(c, r) with [lower, upper] inside [c - r, c + r], exactly."""
    centre = 0.5 * lower + 0.5 * upper
    radius = namespace(lower).maximum(upper - centre, centre - lower)
    return centre, radius * (1.0 + 4.0 * EPS) + TINY


def magnitude(lower: Tensor, upper: Tensor) -> Tensor:
    """Largest |x| in [lower, upper]."""
    return namespace(lower).maximum(abs(lower), abs(upper))

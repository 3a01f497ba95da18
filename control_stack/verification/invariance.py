"""Whether a set is never left: x in S implies x+ in S for every disturbance of a box, proved or refuted.

    S = {c + G y : |y| <= 1},   u = u0 + K (x - c),   x+ = f(x, u, p) + w,   F(y) = G^-1 (f(c + G y, u0 + K G y, p) - c)

in the maximum norm (a box or any parallelotope) or the Euclidean one (an ellipsoid). S is invariant if |F(y)| and what
the disturbance adds stay within 1. A parallelotope is proved by the range of F, split where it is loose. An ellipsoid
is proved by the least of three bounds:

    |b| + |A| + max |F(y) - b - A y|    any affine map, and the range of the rest on parts of S
    |F(0)| + max |dF/dy|                contraction, by the Jacobian enclosed on parts of S
    |F(0)| + |A + B K| + dt gamma       contraction, by the certificate, in the norm of S
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from typing import Any, Literal

import numpy as np

from control_stack.bounds import Affine, Box, Input, Network, Sum, lipschitz_bounds, norm_bounds, split_bounds
from control_stack.bounds.rounding import gamma
from control_stack.errors import InvalidInput
from control_stack.learning.lipschitz.dynamics import LipschitzDynamics
from control_stack.types import Array

LARGEST = 6  # states
# T = G^-1 is a float matrix. What |I - T G| below _ILL costs, and the rounding of norms and of products of G, T and K,
# is charged with _SLACK; what the size of the centre adds to it, apart (``_closed_loop`` computes T c).
_ILL, _SLACK = 1e-10, 1e-9
_SAMPLES, _CLIMB = 20_000, 200


@dataclass(frozen=True)
class Claim:
    """What is to be proved.

    Attributes:
        shape: box (maximum norm) or ellipsoid (Euclidean norm).
        generators: (nx, nx), G. center: (nx,), c.
        feedback: (nu, nx), K. steady: (nu,), u0.
        disturbance: (nx,) largest |w| a step, in the states' units.
        parameters: Box (np,) of p, or None where the model has none.
        inputs: (2, nu) that u must not leave, or None: a limit that clips u would make it another loop.
    """

    shape: Literal["box", "ellipsoid"]
    generators: Array
    center: Array
    feedback: Array
    steady: Array
    disturbance: Array
    parameters: Box | None = None
    inputs: Array | None = None


@dataclass(frozen=True)
class Verdict:
    """What was found.

    Attributes:
        status: proved, refuted (``counterexample`` leaves S) or unknown (neither).
        reach: Proved bound on |y+|, disturbance included; at most 1 is the proof. seen: Largest |y+| found.
        method: What gave ``reach``.
        counterexample: (nx,) state in S whose successor is not, where one was found.
        inputs: (2, nu) range of u on S.
    """

    status: Literal["proved", "refuted", "unknown"]
    reach: float
    seen: float
    method: str
    counterexample: Array | None
    inputs: Array


def invariance(model: LipschitzDynamics, claim: Claim, boxes: int = 2048, seed: int = 0) -> Verdict:
    """Proves or refutes that a step of the closed loop keeps the set.

    Args:
        model: With its certificate. claim: Set, feedback, disturbance.
        boxes: Parts that the set may be cut into. seed: Of the search for counterexamples.

    Raises:
        InvalidInput: More than 6 states, shapes that do not fit, or a set that is flat.
    """
    inverse = _checked(model, claim)
    loop, box = _closed_loop(model, claim, inverse)
    corners = claim.disturbance * np.array(list(product((-1.0, 1.0), repeat=model.nx)))
    pushes = np.unique(corners, axis=0) @ inverse.T  # what the disturbance adds to y+, at its extremes
    order = np.inf if claim.shape == "box" else 2
    slack = _SLACK + 4.0 * gamma(model.nx + 3) * float(np.linalg.norm(np.abs(inverse) @ np.abs(claim.center)))
    added = float(np.linalg.norm(pushes, order, axis=1).max())
    spread = np.linalg.norm(claim.feedback @ claim.generators, 1 if claim.shape == "box" else 2, axis=1)
    inputs = np.stack([claim.steady - spread, claim.steady + spread])
    if claim.shape == "box":
        method = "range by linear bounds with splitting"
        found = split_bounds(loop, box, boxes, tolerance=1e-3)
        reach = float(np.max(np.maximum(np.abs(found.lower), np.abs(found.upper)) + pushes.max(0))) + slack
    else:
        inside, method = _ellipsoid(model, claim, inverse, loop, box, boxes)
        reach = inside * (1.0 + _SLACK) + added + slack
    seen, worst = _search(loop, box, model.nx, order, pushes, seed)
    kept = claim.inputs is None or bool((inputs[0] >= claim.inputs[0]).all() and (inputs[1] <= claim.inputs[1]).all())
    status: Any = "proved" if reach <= 1.0 and kept else "refuted" if seen > 1.0 + _SLACK else "unknown"
    if not kept:
        method += "; but u leaves its limits on the set"
    counterexample = claim.center + claim.generators @ worst if status == "refuted" else None
    return Verdict(status, reach, seen, method, counterexample, inputs)


def _checked(model: LipschitzDynamics, claim: Claim) -> Array:
    """G^-1, after all shapes."""
    nx, nu = model.nx, model.nu
    if nx > LARGEST:
        raise InvalidInput(f"invariance of {nx} states: at most {LARGEST} can be verified")
    shapes = {"matrix": (nx, nx), "center": (nx,), "feedback": (nu, nx), "input": (nu,), "disturbance": (nx,)}
    given = (claim.generators, claim.center, claim.feedback, claim.steady, claim.disturbance)
    for (name, shape), value in zip(shapes.items(), given, strict=True):
        if value.shape != shape or not np.isfinite(value).all():
            raise InvalidInput(f"invariant set: {name} has shape {value.shape}, expected {shape} of finite numbers")
    if (claim.disturbance < 0.0).any():
        raise InvalidInput("invariant set: a disturbance is a largest size, at least 0")
    size = 0 if claim.parameters is None else claim.parameters.size
    if size != len(model.spec.parameters):
        raise InvalidInput(f"invariant set: {size} parameters for a model of {len(model.spec.parameters)}")
    try:
        inverse = np.linalg.inv(claim.generators)
    except np.linalg.LinAlgError:
        raise InvalidInput("invariant set: the matrix is singular, the set is flat") from None
    if np.linalg.norm(np.eye(nx) - inverse @ claim.generators, 2) > _ILL:
        raise InvalidInput("invariant set: the matrix is too close to singular to be verified")
    return np.asarray(inverse)


def _closed_loop(model: LipschitzDynamics, claim: Claim, inverse: Array) -> tuple[Network, Box]:
    """F on [y, p], and its box."""
    nx, n_p = model.nx, len(model.spec.parameters)
    y = Input(nx + n_p)
    into = np.zeros((nx + model.nu + n_p, nx + n_p))
    into[:nx, :nx], into[nx : nx + model.nu, :nx] = claim.generators, claim.feedback @ claim.generators
    into[nx + model.nu :, nx:] = np.eye(n_p)
    a = Affine(y, into, np.concatenate([claim.center, claim.steady, np.zeros(n_p)]))
    after = Affine(model.node(a), inverse, -inverse @ claim.center)
    low, high = (
        (np.zeros(0), np.zeros(0)) if claim.parameters is None else (claim.parameters.lower, claim.parameters.upper)
    )
    one = np.ones(nx)
    return Network(after), Box(np.concatenate([-one, low]), np.concatenate([one, high]))


def _with_state(side: Array, nx: int) -> Array:
    """The side of a box with y = 0."""
    return np.concatenate([np.zeros(nx), side[nx:]])


def _ellipsoid(
    model: LipschitzDynamics, claim: Claim, inverse: Array, loop: Network, box: Box, boxes: int
) -> tuple[float, str]:
    """The least bound on |F(y)| over the unit ball, and what gave it."""
    nx, nu = model.nx, model.nu
    middle = norm_bounds(loop, Box(*(_with_state(side, nx) for side in (box.lower, box.upper))), boxes // 4)
    gains = np.vstack([claim.generators, claim.feedback @ claim.generators])
    linear = inverse @ model.matrix[:, : nx + nu] @ gains
    c = model.certificate
    shrunk = np.linalg.norm(gains / c.input_scale[: nx + nu, None], 2)
    stretch = np.linalg.norm(inverse * c.output_scale, 2)
    gain = float(np.linalg.norm(linear, 2) + model.spec.dt * c.gamma * stretch * shrunk) * (1.0 + 1e-12)
    found = {"contraction by the certificate": float(middle) + gain}
    if found["contraction by the certificate"] > 1.0:
        slope, shift = _affine_fit(loop, box, nx)
        y = loop.nodes[0]
        rest = Network(Sum(loop.nodes[-1], Affine(y, -np.pad(slope, ((0, 0), (0, box.size - nx))), -shift)))
        size = float(np.linalg.norm(shift) + np.linalg.norm(slope, 2)) * (1.0 + 1e-12)
        found["an affine map and the range of the rest"] = size + float(norm_bounds(rest, box, boxes, ball=nx))
        found["contraction by the Jacobian"] = float(middle) + float(lipschitz_bounds(loop, box, boxes // 4, ball=nx))
    method = min(found, key=lambda name: found[name])
    return found[method], method


def _affine_fit(loop: Network, box: Box, nx: int) -> tuple[Array, Array]:
    """A (nx, nx) and b (nx,) close to F on the unit ball; any would be valid."""
    random = np.random.default_rng(0)
    y = random.standard_normal((2000, nx))
    y *= random.random((len(y), 1)) ** (1.0 / nx) / np.linalg.norm(y, axis=1, keepdims=True)
    p = box.lower[nx:] + random.random((len(y), box.size - nx)) * (box.upper - box.lower)[nx:]
    found = np.linalg.lstsq(np.hstack([y, np.ones((len(y), 1))]), loop(np.hstack([y, p])), rcond=None)[0]
    return found[:nx].T, found[nx]


def _search(
    loop: Callable[[Array], Array], box: Box, nx: int, order: float, pushes: Array, seed: int
) -> tuple[float, Array]:
    """Largest |y+| found, and its y: points on the boundary of S, then a climb from the best."""
    random = np.random.default_rng(seed)

    def onto(points: Array) -> Array:
        """Within S; the parameters within their box."""
        points = np.clip(points, box.lower, box.upper)
        if order == 2:
            points[:, :nx] /= np.maximum(np.linalg.norm(points[:, :nx], axis=1, keepdims=True), 1.0)
        return points

    def score(points: Array) -> Array:
        after = loop(points)
        return np.max([np.linalg.norm(after + push, order, axis=1) for push in pushes], axis=0)

    points = box.lower + random.random((_SAMPLES, box.size)) * (box.upper - box.lower)
    points[: _SAMPLES // 2, :nx] = np.sign(points[: _SAMPLES // 2, :nx])  # corners
    if order == 2:
        points[:, :nx] = random.standard_normal((_SAMPLES, nx))
        points[:, :nx] /= np.linalg.norm(points[:, :nx], axis=1, keepdims=True)
    values = score(points)
    best = np.argsort(-values)[:64]
    x, now = points[best], values[best]
    for step in range(_CLIMB):
        tried = onto(x + 0.3 * 0.97**step * random.standard_normal(x.shape) * (box.upper - box.lower))
        value = score(tried)
        better = value > now
        x, now = np.where(better[:, None], tried, x), np.where(better, value, now)
    top = int(np.argmax(now))
    return float(now[top]), x[top, :nx]

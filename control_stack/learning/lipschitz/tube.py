"""A tube around a plan that the real system does not leave: how wide, and how much every constraint must give way.

An ancillary feedback u = v + K (x - z) holds x to the plan z. The nominal error contracts, |A + B K|_P <= rho < 1, with
|e|_P = |T e|_2; the residual's certificate adds its slope, and w what the model does not know at all:

    s_{k+1} = (rho + dt c gamma_res) s_k + w,      |x_k - z_k|_P <= s_k

    c gamma_res = gamma |T diag(output_scale)| |diag(input_scale)^-1 [I; K] T^-1|

w is conformal. Of N whole trajectories, exchangeable with those to come, take each one's largest error of a step in the
norm P: their ceil((N + 1)(1 - delta))-th smallest is not exceeded anywhere along a new trajectory with probability
1 - delta (Vovk, Gammerman, Shafer 2005; the maximum over a trajectory as in Lindemann et al., *Safe planning in dynamic
environments using conformal prediction*, RA-L 2023).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.linalg import solve_discrete_lyapunov

from control_stack.bounds import Box
from control_stack.errors import InvalidInput
from control_stack.learning.lipschitz.dynamics import LipschitzDynamics
from control_stack.types import Array

_ROUNDING = 1.0 + 1e-9  # of norms by LAPACK, far above their error


@dataclass(frozen=True, eq=False)
class Tube:
    """Radii and what they cost.

    Attributes:
        shape: (nx, nx), T of the norm |e|_P = |T e|_2. feedback: (nu, nx), K.
        rho: Contraction of the nominal error a step. residual: dt c gamma_res.
        noise: Bound on the unknown part of a step, in the norm P.
        model: Digest of the model that it was made of (``digest_of``); empty for one that is made up of numbers.
        region: (lower, upper) of [x, u] where the residual's slope was taken; None: everywhere.

    Raises:
        InvalidInput: rho + dt c gamma_res >= 1: errors would grow without bound. The message gives the number.
    """

    shape: Array
    feedback: Array
    rho: float
    residual: float
    noise: float
    model: str = ""
    region: tuple[Array, Array] | None = None

    def __post_init__(self) -> None:
        if not self.growth < 1.0:
            told = f"{self.growth:.4g} >= 1 ({self.rho:.4g} + {self.residual:.4g})"
            raise InvalidInput(f"tube: rho + dt c gamma_res = {told}: errors would grow")

    @property
    def growth(self) -> float:
        """rho + dt c gamma_res, below 1."""
        return self.rho + self.residual

    def radii(self, horizon: int, first: float = 0.0) -> Array:
        """(horizon + 1,) s_k, from |x_0 - z_0|_P <= first on."""
        powers = self.growth ** np.arange(horizon + 1)
        return powers * first + self.noise * (1.0 - powers) / (1.0 - self.growth)

    def limit(self) -> float:
        """What s_k tends to."""
        return self.noise / (1.0 - self.growth)

    def state_margins(self, radii: Array, rows: Array) -> Array:
        """(horizon + 1, r) by how much H z_k <= h must be tightened for H x_k <= h; rows: H (r, nx)."""
        return np.outer(radii, np.linalg.norm(np.linalg.solve(self.shape.T, rows.T), axis=0)) * _ROUNDING

    def check_model(self, model: LipschitzDynamics) -> None:
        """Raises InvalidInput for a tube of another model."""
        if self.model != digest_of(model):
            raise InvalidInput("tube: it was made of another model than the problem's: make it of this one")

    def region_margins(self, radii: Array) -> Array:
        """(horizon + 1, nx + nu) by how much every channel of a plan [z, v] must stay inside the region."""
        nx, nu = len(self.shape), len(self.feedback)
        return np.hstack([self.state_margins(radii, np.eye(nx)), self.input_margins(radii, np.eye(nu))])

    def check_region(self, states: Array, inputs: Array, radii: Array, names: Sequence[str] = ()) -> None:
        """Whether the tube about a plan stays where its residual's slope was taken; a tube without region always does.

        Args:
            states: (N + 1, nx), inputs: (N, nu), of the plan. radii: (N + 1,), s_k. names: Of the channels.

        Raises:
            InvalidInput: It leaves the region: nothing is proved of this plan. The message says where and when.
        """
        if self.region is None:
            return
        lower, upper = self.region
        margins, nx = self.region_margins(radii), len(self.shape)
        # The last state is a result: no step is taken from it.
        plan = np.hstack([states[:-1], inputs])
        out = np.maximum(plan + margins[:-1] - upper, lower - plan + margins[:-1])
        k, j = divmod(int(np.argmax(out)), out.shape[1])
        if out[k, j] > 0.0:
            name = names[j] if len(names) > j else f"state {j}" if j < nx else f"input {j - nx}"
            raise InvalidInput(
                f"tube: at step {k} {name} may leave the box of the local gamma, {lower[j]:.4g} to {upper[j]:.4g}, by "
                f"{out[k, j]:.4g}: nothing is proved of this plan"
            )

    def input_margins(self, radii: Array, rows: Array) -> Array:
        """(horizon + 1, r) the same for H v_k <= h and u = v + K e; rows: H (r, nu)."""
        return self.state_margins(radii, rows @ self.feedback)


def digest_of(model: LipschitzDynamics) -> str:
    """SHA-256 of all numbers of a model that a tube rests on."""
    found, network = hashlib.sha256(), model.network
    c = network.certificate
    parts = [model.matrix, model.constant, *network.weights, *network.biases, network.center, network.offset]
    for part in (*parts, c.input_scale, c.output_scale, np.array([c.gamma, model.spec.dt])):
        found.update(np.ascontiguousarray(part, dtype=float).tobytes())
    return found.hexdigest()


def tube(model: LipschitzDynamics, feedback: Array, shape: Array, noise: float, box: Box | None = None) -> Tube:
    """The tube of a model, a feedback and a norm.

    Args:
        model: Its affine step is the nominal model, its network the residual.
        feedback: (nu, nx), K. shape: (nx, nx), T. noise: At least 0, in the norm P (``conformal_noise``).
        box: (nx + nu + np,) of [x, u, p] within which the residual's slope is taken (``CertifiedNetwork.local_gamma``);
            by default gamma, which holds everywhere. The tube is then of plans that ``check_region`` admits, and of
            parameters within the box.

    Raises:
        InvalidInput: A model without certificate, shapes that do not fit, no contraction, or
            rho + dt c gamma_res >= 1: errors would grow without bound. The message gives the number.
    """
    if not isinstance(model, LipschitzDynamics):
        raise InvalidInput(f"a tube needs a model with a certificate, got {type(model).__name__}")
    nx, nu = model.nx, model.nu
    if feedback.shape != (nu, nx) or shape.shape != (nx, nx):
        raise InvalidInput(f"tube: feedback {feedback.shape} and shape {shape.shape}, expected {(nu, nx)}, {(nx, nx)}")
    if not (math.isfinite(noise) and noise >= 0.0):
        raise InvalidInput(f"tube: noise must be at least 0, got {noise}")
    rho, residual = growth(model, feedback, shape, box)
    if not rho < 1.0:
        raise InvalidInput(f"tube: the feedback does not contract the nominal error in this norm, rho = {rho:.4g} >= 1")
    region = None if box is None else (box.lower[: nx + nu], box.upper[: nx + nu])
    return Tube(shape, feedback, rho, residual, noise, digest_of(model), region)


def growth(model: LipschitzDynamics, feedback: Array, shape: Array, box: Box | None = None) -> tuple[float, float]:
    """(rho, dt c gamma_res), arguments as of ``tube``: there is one if their sum is below 1."""
    nx, nu, c = model.nx, model.nu, model.certificate
    gamma = c.gamma if box is None else model.network.local_gamma(box)
    inverse = np.linalg.inv(shape)
    loop = model.matrix[:, :nx] + model.matrix[:, nx : nx + nu] @ feedback
    rho = float(np.linalg.norm(shape @ loop @ inverse, 2)) * _ROUNDING
    moved = np.vstack([np.eye(nx), feedback]) @ inverse / c.input_scale[: nx + nu, None]
    factor = float(np.linalg.norm(shape * c.output_scale, 2) * np.linalg.norm(moved, 2)) * _ROUNDING
    return rho, model.spec.dt * factor * gamma


def contracting_shape(
    model: LipschitzDynamics, feedback: Array, rate: float | None = None, lengths: Array | None = None
) -> Array:
    """T of a norm in which A + B K contracts: P = T'T solves (F'PF) / rate^2 - P = -diag(1 / lengths)^2.

    Args:
        model: Whose affine step. feedback: (nu, nx), K.
        rate: Between the spectral radius of F and 1; by default half-way. Closer to the radius contracts more and
            stretches the norm more.
        lengths: (nx,) of errors that weigh alike, in the states' units; by default the certificate's scales.

    Raises:
        InvalidInput: The loop's spectral radius is not below ``rate``, or that not below 1.
    """
    nx = model.nx
    loop = model.matrix[:, :nx] + model.matrix[:, nx : nx + model.nu] @ feedback
    radius = float(np.abs(np.linalg.eigvals(loop)).max())
    wanted = 0.5 * (1.0 + radius) if rate is None else rate
    if not radius < wanted < 1.0:
        raise InvalidInput(f"tube: the loop's spectral radius is {radius:.4g}; a norm needs it below {wanted:.4g} < 1")
    scale = model.certificate.input_scale[:nx] if lengths is None else lengths
    p = solve_discrete_lyapunov(loop.T / wanted, np.diag(scale**-2.0))
    return np.linalg.cholesky(p).T


def conformal_noise(model: LipschitzDynamics, shape: Array, states: Array, inputs: Array, delta: float) -> float:
    """w from calibration trajectories that the model was not fitted to.

    Args:
        model: Predicts one step. shape: (nx, nx), T.
        states: (N, steps + 1, nx), inputs: (N, steps, nu), of whole trajectories exchangeable with those to come: as
            long, and under winds drawn alike.
        delta: Probability that a new trajectory exceeds w anywhere, within (0, 1).

    Raises:
        InvalidInput: Too few trajectories for that delta, or it is not within (0, 1).
    """
    errors = states[:, 1:] - model.step(states[:, :-1], inputs)
    return conformal(np.linalg.norm(errors @ shape.T, axis=-1).max(axis=1), delta)


def conformal(worst: Array, delta: float) -> float:
    """What a further one of exchangeable numbers (N,) does not exceed with probability 1 - delta.

    Raises:
        InvalidInput: Too few numbers for that delta, or it is not within (0, 1).
    """
    if not 0.0 < delta < 1.0:
        raise InvalidInput(f"conformal: delta must lie within 0 and 1, got {delta}")
    count = len(worst)
    rank = math.ceil((count + 1) * (1.0 - delta))
    if rank > count:
        least = math.ceil(1.0 / delta) - 1
        raise InvalidInput(f"conformal: delta {delta:g} needs {least} trajectories or more, got {count}")
    return float(np.sort(worst)[rank - 1])

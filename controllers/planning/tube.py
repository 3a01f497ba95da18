"""Robust planning: what a plan must keep gives way, step by step, by the radius of the tube around it.

    H z_t + G v_{t-1} + |H T^-1| s_t + |G K T^-1| s_{t-1} <= h,      u = v_t + K (x - z_t)

for every row of the linear constraints, with s_t of the tube; faces of obstacles and limits of inputs likewise. Whoever
flies the plan with this feedback keeps what was asked, as long as the tube holds. The margins are numbers in the
problem, so that every planner sees them: mixed-integer, sampling, branch and bound.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from control_stack.errors import InvalidInput
from control_stack.learning.lipschitz.dynamics import LipschitzDynamics
from control_stack.learning.lipschitz.tube import Tube
from control_stack.learning.sparse_relu import GatedLayer, SparseReLUDynamics
from control_stack.learning.spec import TaskSpec
from control_stack.types import Array
from controllers.planning.problem import TOLERANCE, LinearConstraint, Obstacle, Problem


def relu_model(model: LipschitzDynamics, spec: TaskSpec, p: Array | None = None) -> SparseReLUDynamics:
    """The same function as a model that planners read.

        x+ - x = [A - I, B] [x, u] + D p + c + dt g(x, u, p)

    Args:
        model: With ReLUs. spec: Its states and inputs, with outputs, weights and limits.
        p: (np,) parameters, held over the horizon; by default the model's.

    Raises:
        InvalidInput: Another activation, or a spec of other states, inputs or time step.
    """
    own, network = model.spec, model.network
    if network.activation != "relu":
        raise InvalidInput(f"a mixed-integer plan needs a model with ReLUs, this one has {network.activation}")
    if (spec.state, spec.inputs, spec.dt) != (own.state, own.inputs, own.dt):
        raise InvalidInput("the task's states, inputs or time step are not those of the model")
    held = own.defaults if p is None else np.asarray(p, dtype=float)
    if held.shape != own.defaults.shape or not np.isfinite(held).all():
        raise InvalidInput(f"the model has {len(own.defaults)} parameters, got {held.tolist()}")
    n, c = model.nx + model.nu, network.certificate
    layers = []
    for k, (weight, bias) in enumerate(zip(network.weights, network.biases, strict=True)):
        if k == 0:  # h of [x, u, p] in their units
            weight = weight / c.input_scale
            bias = bias - weight @ network.center + weight[:, n:] @ held
            weight = weight[:, :n]
        layers.append(GatedLayer({k: weight}, bias, ("relu",) * len(bias)))
    last, rate = layers.pop(), spec.dt * c.output_scale[:, None]
    change = model.matrix[:, :n] - np.eye(model.nx, n)
    constant = model.constant + model.matrix[:, n:] @ held + spec.dt * network.offset + rate[:, 0] * last.bias
    weights = {0: change, len(layers): rate * last.weights[len(layers)]}
    return SparseReLUDynamics(spec, (*layers, GatedLayer(weights, constant, ("identity",) * model.nx)))


@dataclass(frozen=True, eq=False)
class TubeProblem:
    """A problem whose plans leave room for a tube.

    Attributes:
        problem: To be solved, by any planner.
        tube: Radii and feedback.
    """

    problem: Problem
    tube: Tube

    def command(self, v: Array, z: Array, x: Array) -> Array:
        """u of the plan's v and z at the state x that was measured."""
        return v + self.tube.feedback @ (x - z)


def with_tube(problem: Problem, model: LipschitzDynamics, tube: Tube, first: float = 0.0) -> TubeProblem:
    """Tightens constraints, obstacles and the limits of the inputs; plans also keep to the tube's region, if any.

    Args:
        problem: Of ``relu_model(model, ...)``.
        model: With the certificate. tube: Of that model, so with rho + dt c gamma_res < 1.
        first: Bound on |x_0 - z_0|_P; 0 where plans begin at the measured state.

    Raises:
        InvalidInput: A model without certificate, a problem of another one, an input with choices that the feedback
            moves, or a tube so wide that nothing is left between two sides. The message says of what, when and by how
            much.
    """
    if not isinstance(model, LipschitzDynamics):
        raise InvalidInput(f"a tube needs a model with a certificate, got {type(model).__name__}")
    tube.check_model(model)
    if tube.feedback.shape != (problem.nu, problem.nx):
        raise InvalidInput(f"tube: feedback {tube.feedback.shape}, expected {(problem.nu, problem.nx)}")
    if problem.input_margins is not None:
        raise InvalidInput("tube: the problem gives way to a tube already")
    if not _same(problem.model, model, problem.spec):
        raise InvalidInput(
            "tube: the problem plans with another model than the tube's: give it relu_model(model, spec)"
        )
    for name in problem.choices:
        if tube.feedback[problem.spec.inputs.index(name)].any():
            raise InvalidInput(f"tube: {name} has choices, and the feedback would leave them")
    radii = tube.radii(problem.horizon, first)
    inputs = tube.input_margins(radii, np.eye(problem.nu))[:-1]
    low, high = problem.limits
    for t, j in np.argwhere(high - low <= 2.0 * inputs)[:1]:
        raise InvalidInput(_too_wide(problem.spec.inputs[j], inputs[t, j], t))
    return TubeProblem(
        replace(
            problem,
            constraints=tuple(
                _tightened(c, problem.horizon, tube, radii) for c in (*problem.constraints, *_region(problem, tube))
            ),
            obstacles=tuple(_grown(o, problem.horizon, tube, radii) for o in problem.obstacles),
            input_margins=inputs,
        ),
        tube,
    )


def _region(problem: Problem, tube: Tube) -> list[LinearConstraint]:
    """That plan and tube stay where the residual's slope was taken."""
    if tube.region is None:
        return []
    (lower, upper), nx, nu = tube.region, problem.nx, problem.nu
    states = LinearConstraint("region of the tube, states", np.eye(nx), lower[:nx], upper[:nx])
    inputs = np.zeros((nu, nx)), lower[nx:], upper[nx:], np.eye(nu)
    return [states, LinearConstraint("region of the tube, inputs", *inputs)]


def _tightened(c: LinearConstraint, horizon: int, tube: Tube, radii: Array) -> LinearConstraint:
    margins = tube.state_margins(radii, c.state)[1:] + TOLERANCE  # which planners allow themselves
    if c.inputs is not None:
        margins = margins + tube.input_margins(radii, c.inputs)[:-1]
    lower, upper = c.sides(horizon)
    for t, k in np.argwhere(upper - lower < 2.0 * margins)[:1]:
        raise InvalidInput(_too_wide(f"constraint '{c.name}'", margins[t, k], t + 1))
    return replace(c, lower=lower + margins, upper=upper - margins)


def _grown(o: Obstacle, horizon: int, tube: Tube, radii: Array) -> Obstacle:
    rows = np.einsum("fd,kdn->kfn", o.normals, o.points)
    offsets = o.sides(horizon)
    margins = tube.state_margins(radii, rows.reshape(-1, rows.shape[-1]))[1:] + TOLERANCE
    return replace(o, offsets=offsets + margins.reshape(offsets.shape))


def _same(planned: SparseReLUDynamics, model: LipschitzDynamics, spec: TaskSpec) -> bool:
    """Whether ``planned`` is the model's, whatever its parameters: those move first biases and the constant."""
    own = relu_model(model, spec).layers
    if len(own) != len(planned.layers):
        return False
    pairs = list(zip(own, planned.layers, strict=True))
    weights = all(
        a.weights.keys() == b.weights.keys() and all(np.array_equal(a.weights[j], b.weights[j]) for j in a.weights)
        for a, b in pairs
    )
    fixed = pairs if not len(model.spec.defaults) else pairs[1:-1]
    return weights and all(a.gates == b.gates and np.array_equal(a.bias, b.bias) for a, b in fixed)


def _too_wide(what: str, margin: float, step: int) -> str:
    return f"tube: {what} would have to give way by {margin:.4g} on both sides at step {step}: nothing would be left"

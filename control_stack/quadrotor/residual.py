"""A quadrotor with what its equations leave out: an acceleration that a network adds, seen from the body.

    x+ = f(x, u, p + (force_w = m R(q) g(z)));   z = (a, |a| a, w, T/m)  with the airspeed a = R^T (v - wind)

One evaluation of g a step enters as an external force held over it. Wind in p moves the airspeed in z, and nothing in z
tells where the vehicle is, where it heads or how it is tilted: what was learned in one place and direction holds in
every other. Tilt is left out on purpose. In still air it tells much of the airspeed, and a network that reads the one
off the other is wrong as soon as there is wind. |a| a is there because drag grows like it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from control_stack.algebra import rotate, rotate_inverse, sqrt
from control_stack.errors import InvalidInput
from control_stack.protocols import DynamicsSpec
from control_stack.quadrotor.dynamics import DISTURBANCE_SIZE, Columns, rotor_thrust
from control_stack.quadrotor.long_step import FORCE, PARAMETER_SIZE, LongStepQuadrotor
from control_stack.quadrotor.parameters import airframe_from_columns
from control_stack.rollout import rollout
from control_stack.types import Array, CommandLevel

SEEN = (
    *(f"airspeed_b.{axis} [m/s]" for axis in "xyz"),
    *(f"airspeed_b.{axis} |airspeed_b| [m^2/s^2]" for axis in "xyz"),
    *(f"omega_b.{axis} [rad/s]" for axis in "xyz"),
    "thrust / mass [m/s^2]",
)
FEATURES = len(SEEN)
_SMOOTH = 1e-6  # m^2/s^2 below the root, which has no slope at zero


@dataclass(frozen=True)
class TanhNetwork:
    """g(z) = scale_out * (W_n tanh(.. tanh(W_1 (z - mean) / scale + b_1) ..) + b_n).

    Attributes:
        weights, biases: Of the layers, (rows, columns) and (rows,).
        mean, scale: Of the inputs. scale_out: Of the outputs, one number each.
    """

    weights: tuple[Array, ...]
    biases: tuple[Array, ...]
    mean: Array
    scale: Array
    scale_out: Array

    def __call__(self, z: Any) -> Array:
        """(..., inputs) -> (..., outputs)."""
        h = (np.asarray(z, dtype=float) - self.mean) / self.scale
        for weight, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
            h = np.tanh(h @ weight.T + bias)
        return self.scale_out * (h @ self.weights[-1].T + self.biases[-1])

    def flatten(self) -> Array:
        """Weights (by columns) and bias of each layer in turn."""
        parts = zip(self.weights, self.biases, strict=True)
        return np.concatenate([np.concatenate([w.ravel("F"), b]) for w, b in parts])

    def symbols(self, z: Any, flat: Any = None) -> tuple[Any, Any]:
        """(g, dg/dz) of CasADi symbols, as products of matrices.

        The Jacobian is multiplied from its few outputs backwards, half the work of the chain rule from the inputs on.

        Args:
            z: MX. flat: MX of ``flatten()``, where the weights are to change; None: they are constants.
        """
        from control_stack.quadrotor.symbolic import import_casadi

        ca, at = import_casadi(), 0
        h, slopes, matrices = (z - ca.DM(self.mean)) / ca.DM(self.scale), [], []
        for k, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            # Constants as matrices of their own: slices of one long constant would be copied at every evaluation.
            matrix, offset = ca.MX(ca.DM(weight)), ca.DM(bias)
            if flat is not None:
                matrix = ca.reshape(flat[at : at + weight.size], *weight.shape)
                offset = flat[at + weight.size : at + weight.size + len(bias)]
            at += weight.size + len(bias)
            h = ca.mtimes(matrix, h) + offset
            matrices.append(matrix)
            if k + 1 < len(self.weights):
                h = ca.tanh(h)
                slopes.append(1.0 - h * h)
        jacobian = matrices[-1]
        for matrix, slope in zip(matrices[-2::-1], slopes[::-1], strict=True):
            jacobian = ca.mtimes(jacobian * ca.repmat(slope.T, jacobian.shape[0], 1), matrix)
        gain = ca.DM(self.scale_out[:, None] / self.scale[None, :])
        return ca.DM(self.scale_out) * h, jacobian * gain


class ResidualQuadrotor:
    """``LongStepQuadrotor`` with a network's acceleration, as a Dynamics that knows its own linearisation.

    Args:
        nominal: Gives level, step and the first 60 parameters.
        network: FEATURES inputs, 3 outputs: acceleration in the body frame, m/s^2.
        adaptive: The network's weights are parameters too (p goes on with ``network.flatten()``), so that weights
            that are trained on in flight take effect at the next call.
    """

    def __init__(self, nominal: LongStepQuadrotor, network: TanhNetwork, adaptive: bool = False):
        if network.weights[0].shape[1] != FEATURES or network.weights[-1].shape[0] != 3:
            raise InvalidInput(f"a residual network has {FEATURES} inputs and 3 outputs")
        self.nominal, self.network, self.adaptive = nominal, network, adaptive
        spec, flat = nominal.spec, network.flatten()
        names, defaults = spec.parameters, spec.defaults
        if adaptive:
            names = (*names, *(f"weight.{k} [1]" for k in range(len(flat))))
            defaults = np.concatenate([defaults, flat])
        self.spec = DynamicsSpec(spec.state, spec.inputs, names, defaults, spec.dt)

    def features(self, x: Columns, u: Columns, p: Columns) -> Columns:
        """z, by component."""
        airframe = airframe_from_columns(p[DISTURBANCE_SIZE:PARAMETER_SIZE])
        if self.nominal.level is CommandLevel.CTBR:
            thrust = u[3]
        else:
            middle = tuple(0.5 * (a + b) for a, b in zip(x[13:17], u, strict=True))
            thrust = sum(rotor_thrust(middle, airframe)[1:], rotor_thrust(middle, airframe)[0])
        return _seen(x[3:6], x[6:10], x[10:13], thrust / airframe.mass, p)

    def acceleration_w(self, velocity_w: Array, quat_xyzw: Array, omega_b: Array, thrust: Array, p: Array) -> Array:
        """(n, 3) of the network in the world, m/s^2, where a flight is planned rather than simulated.

        Args:
            velocity_w, quat_xyzw, omega_b: (n, 3 or 4). thrust: (n,) specific, m/s^2. p: (np,).
        """
        network = self._with(p[PARAMETER_SIZE:]) if self.adaptive else self.network
        v, q, w = (tuple(np.moveaxis(a, -1, 0)) for a in (velocity_w, quat_xyzw, omega_b))
        a = network(np.stack(np.broadcast_arrays(*_seen(v, q, w, thrust, tuple(p[0:3]))), axis=-1))
        return np.stack(rotate(q, tuple(np.moveaxis(a, -1, 0))), axis=-1)  # type: ignore[arg-type]

    def step(self, x: Any, u: Any, p: Any = None) -> Array:
        """(..., nx), (..., 4), (..., np) -> (..., nx)."""
        given = np.asarray(self.spec.defaults if p is None else p, dtype=float)
        network = self.network if not self.adaptive else self._with(given[..., PARAMETER_SIZE:])
        columns = [tuple(np.moveaxis(np.asarray(a, dtype=float), -1, 0)) for a in (x, u, given)]
        z = np.stack(np.broadcast_arrays(*self.features(*columns)), axis=-1)
        a = np.moveaxis(network(z), -1, 0)
        force = np.stack(rotate(columns[0][6:10], tuple(a)), axis=-1)  # type: ignore[arg-type]
        nominal = np.broadcast_to(given[..., :PARAMETER_SIZE], (*force.shape[:-1], PARAMETER_SIZE)).copy()
        nominal[..., FORCE] += nominal[..., DISTURBANCE_SIZE, None] * force
        return self.nominal.step(x, u, nominal)

    def rollout(self, x0: Any, us: Any, p: Any = None) -> Array:
        """(..., nx), (..., T, 4) -> (..., T + 1, nx), x0 first."""
        return rollout(self.step, x0, us, p)

    def to_casadi(self) -> Any:
        """casadi.Function f(x, u, p) -> x+."""
        return self._function(derivatives=False)

    def linearise(self) -> Any:
        """casadi.Function (x, u, p) -> (x+, df/dx, df/du)."""
        return self._function(derivatives=True)

    def _function(self, derivatives: bool) -> Any:
        from control_stack.quadrotor.symbolic import import_casadi

        ca, spec = import_casadi(), self.spec
        sizes = len(spec.state), len(spec.inputs)
        x, u, p, a, push = (ca.SX.sym(n, k) for n, k in zip("xupaf", (*sizes, PARAMETER_SIZE, 3, 3), strict=True))
        columns = [tuple(s[i] for i in range(s.shape[0])) for s in (x, u, p, a)]
        start, end = FORCE.start, FORCE.stop
        z = ca.vertcat(*self.features(*columns[:3]))
        force = p[DISTURBANCE_SIZE] * ca.vertcat(*rotate(columns[0][6:10], columns[3]))  # type: ignore[arg-type]
        pushed = ca.vertcat(p[:start], p[FORCE] + push, p[end:])
        after = ca.vertcat(
            *self.nominal.columns(columns[0], columns[1], tuple(pushed[i] for i in range(PARAMETER_SIZE)))
        )
        seen = _part("features", z, [x, u], [p], derivatives)
        turned = _part("force", force, [x, a], [p], derivatives)
        moved = _part("moved", after, [x, u, push], [p], derivatives)

        x, u, given = ca.MX.sym("x", sizes[0]), ca.MX.sym("u", sizes[1]), ca.MX.sym("p", len(spec.parameters))
        weights = given[PARAMETER_SIZE:] if self.adaptive else None
        p = given[:PARAMETER_SIZE]
        z, *z_by = seen(x, u, p)
        g, dg = self.network.symbols(z, weights)
        f, *f_by = turned(x, g, p)
        y, *y_by = moved(x, u, f, p)
        if not derivatives:
            fixed = {"is_diff_in": [True, True, False]}  # nobody asks for derivatives by the parameters
            return ca.Function("residual_quadrotor", [x, u, given], [y], ["x", "u", "p"], ["x_next"], fixed)
        (z_x, z_u), (f_x, f_a), (y_x, y_u, y_f) = z_by, f_by, y_by
        push_z = ca.mtimes(f_a, dg)
        a_matrix = y_x + ca.mtimes(y_f, f_x + ca.mtimes(push_z, z_x))
        b_matrix = y_u + ca.mtimes(y_f, ca.mtimes(push_z, z_u))
        return ca.Function("linearised", [x, u, given], [y, a_matrix, b_matrix], ["x", "u", "p"], ["x_next", "a", "b"])

    def _with(self, flat: Array) -> TanhNetwork:
        """The network with other weights. Raises InvalidInput for a batch of them."""
        if flat.ndim != 1:
            raise InvalidInput("weights as parameters: one set for all states of a batch")
        weights, biases, at = [], [], 0
        for weight in self.network.weights:
            weights.append(flat[at : at + weight.size].reshape(weight.shape, order="F"))
            biases.append(flat[at + weight.size : at + weight.size + len(weight)])
            at += weight.size + len(weight)
        n = self.network
        return TanhNetwork(tuple(weights), tuple(biases), n.mean, n.scale, n.scale_out)


def _seen(velocity: Columns, quat: Columns, omega: Columns, thrust: Any, p: Columns) -> Columns:
    """z from velocity_w, quat_xyzw, omega_b and specific thrust; of p only the wind."""
    air = rotate_inverse(quat, tuple(a - b for a, b in zip(velocity, (p[0], p[1], p[2]), strict=True)))  # type: ignore[arg-type]
    speed = sqrt(air[0] * air[0] + air[1] * air[1] + air[2] * air[2] + _SMOOTH)
    return (*air, *(speed * a for a in air), *omega, thrust)


def _part(name: str, value: Any, by: list[Any], constants: list[Any], derivatives: bool) -> Any:
    """casadi.Function (by, constants) -> [value, its derivatives by each of ``by``]; none exist by the constants.

    Without derivatives of its own where the chain rule is to go through it: that would derive them as well.
    """
    from control_stack.quadrotor.symbolic import import_casadi

    ca = import_casadi()
    slopes = [ca.densify(ca.jacobian(value, v)) for v in by] if derivatives else []
    fixed = {"is_diff_in": [True] * len(by) + [False] * len(constants)}
    function = ca.Function(name, [*by, *constants], [value, *slopes], fixed)
    return function if derivatives else lambda *arguments: [function(*arguments)]

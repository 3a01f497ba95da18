"""Linear-quadratic hover: the optimal linear law about trim, a controller and a truth to test by."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from scipy.linalg import solve_discrete_are

from control_stack.algebra import cos, quat_conjugate, quat_from_yaw, quat_multiply, sin, where
from control_stack.laws.allocation import RESPONSE_TIME
from control_stack.laws.rotor_model import RotorModel
from control_stack.quadrotor.dynamics import DISTURBANCE_SIZE, INPUT_SIZE, STATE_SIZE
from control_stack.quadrotor.parameters import QuadrotorParameters
from control_stack.quadrotor.symbolic import import_casadi, step_function
from control_stack.types import Array, Command, CommandLevel, QuadrotorState, Reference, RotorCommand
from controllers.base import BaseController
from controllers.columns import array_of, components, scalar, state_columns

ERROR_SIZE = 16
_SUBSTEPS = 10
_MAX_POSITION_ERROR = 0.6  # m: further away the law would ask for a tilt at which hover's linearisation ends


@dataclass(frozen=True)
class LqrWeights:
    """How much of each error costs as much as one: the weights are the inverse squares (Bryson's rule).

    Attributes:
        position: m. velocity: m/s. tilt: rad. yaw: rad. tilt_rate, yaw_rate: rad/s.
        rotor: of the input, rotor speed from hover over hover speed.
    """

    position: float = 0.10
    velocity: float = 0.40
    tilt: float = 0.30
    yaw: float = 0.30
    tilt_rate: float = 3.0
    yaw_rate: float = 2.0
    rotor: float = 0.15

    def state_cost(self) -> Array:
        """(16, 16) Q; rotor speeds themselves cost nothing."""
        scales = [
            *[self.position] * 3,
            *[self.velocity] * 3,
            *[self.tilt] * 2,
            self.yaw,
            *[self.tilt_rate] * 2,
            self.yaw_rate,
        ]
        return np.diag([*(1.0 / np.square(scales)), *[0.0] * 4])

    def input_cost(self, hover_speed: float) -> Array:
        """(4, 4) R."""
        return np.eye(INPUT_SIZE) / (self.rotor * hover_speed) ** 2


def linearise_hover(parameters: QuadrotorParameters, period: float) -> tuple[Array, Array]:
    """Discrete (A, B) of the model about hover at zero yaw over one period, by automatic differentiation.

    Error coordinates e, 16 numbers: position (m), velocity (m/s), rotation vector (rad, body), body rates
    (rad/s), rotor speeds from hover (rad/s). The rotation vector is twice the vector part of the quaternion
    to first order, which is how the unit-norm direction leaves the 17-dimensional state. Rotors are taken
    with equal time constants up and down, RESPONSE_TIME, which ``RotorModel.command_for`` makes true.
    """
    ca = import_casadi()
    lag = np.full(4, RESPONSE_TIME)
    model = replace(parameters, rise_time=lag, fall_time=lag)
    step = step_function(period / _SUBSTEPS)
    x, u = ca.SX.sym("x", STATE_SIZE), ca.SX.sym("u", INPUT_SIZE)
    y = x
    for _ in range(_SUBSTEPS):
        y = step(y, u, np.zeros(DISTURBANCE_SIZE), model.flatten())
    hover = np.full(4, parameters.hover_rotor_speed)
    trim = np.concatenate([np.zeros(9), [1.0], np.zeros(3), hover])
    jacobian = ca.Function("jacobian", [x, u], [ca.jacobian(y, x), ca.jacobian(y, u)])
    a17, b17 = (np.array(j) for j in jacobian(trim, hover))
    lift = np.delete(np.eye(STATE_SIZE), 9, axis=1)
    lift[6:9, 6:9] *= 0.5
    lower = np.linalg.pinv(lift)
    return lower @ a17 @ lift, lower @ b17


class LqrController(BaseController):
    """Hover LQR on rotor speeds: W_d = W_hover - K e, minimising sum e'Qe + u'Ru over the linearised model.

    K comes from the discrete algebraic Riccati equation once, at configure time. Errors are taken in the
    heading frame of the reference, so any yaw is flown with the same gain; the reference's velocity is an
    error target, its acceleration is not fed forward. Position errors are clipped to 0.6 m per axis. Far from
    hover (large tilt) there is no guarantee: use the geometric controller.

    Attributes:
        a, b: (16, 16), (16, 4) linear model. q, r: cost. cost_to_go: (16, 16) P. gain: (4, 16) K.
    """

    name: ClassVar[str] = "lqr"
    levels: ClassVar[tuple[CommandLevel, ...]] = (CommandLevel.ROTORS,)

    def __init__(
        self,
        parameters: QuadrotorParameters,
        level: CommandLevel = CommandLevel.ROTORS,
        rate_hz: float = 100.0,
        weights: LqrWeights | None = None,
    ):
        super().__init__(parameters, level, rate_hz)
        weights = weights or LqrWeights()
        self.hover = parameters.hover_rotor_speed
        self.a, self.b = linearise_hover(parameters, 1.0 / rate_hz)
        self.q, self.r = weights.state_cost(), weights.input_cost(self.hover)
        self.cost_to_go = solve_discrete_are(self.a, self.b, self.q, self.r)
        projected = self.b.T @ self.cost_to_go
        self.gain = np.linalg.solve(self.r + projected @ self.b, projected @ self.a)
        self._response = 1.0 - float(np.exp(-1.0 / (rate_hz * RESPONSE_TIME)))
        self._rotors = RotorModel(parameters, 1.0 / rate_hz)

    def reset(self) -> None:
        """Forgets the rotor speeds."""
        self._rotors.reset()

    def __call__(self, t: float, state: QuadrotorState, reference: Reference) -> Command:
        """Rotor speeds; ``t`` is not used."""
        speed = self._rotors.observe(state)
        wanted = self.hover - self.error(state, reference, speed) @ self.gain.T
        command = self._rotors.command_for(components(wanted), self._response)
        self._rotors.advance(command)
        return RotorCommand(array_of(command), state.stamp)

    def error(self, state: QuadrotorState, reference: Reference, speed: Any) -> Array:
        """(..., 16) state minus reference in coordinates of ``linearise_hover``, seen from the heading."""
        x = state_columns(state)
        yaw = scalar(reference.yaw)
        c, s = cos(yaw), sin(yaw)

        def turned(a: Any, b: Any) -> Any:
            dx, dy, dz = (i - j for i, j in zip(a, b, strict=True))
            return (c * dx + s * dy, c * dy - s * dx, dz)

        limit = _MAX_POSITION_ERROR
        position = np.clip(array_of(turned(x[0:3], components(reference.position_w))), -limit, limit)
        velocity = turned(x[3:6], components(reference.velocity_w))
        q = quat_multiply(quat_conjugate(quat_from_yaw(yaw)), x[6:10])  # type: ignore[arg-type]
        # The shorter of the two turns that the quaternion and its negative stand for.
        sign = where(q[3] < 0.0, -2.0, 2.0)
        rates = (x[10], x[11], x[12] - scalar(reference.yaw_rate))
        rest = (*velocity, sign * q[0], sign * q[1], sign * q[2], *rates, *(w - self.hover for w in speed))
        return np.concatenate([position, np.broadcast_to(array_of(rest), (*position.shape[:-1], 13))], axis=-1)

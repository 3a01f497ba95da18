"""Many quadrotors at once in torch, differentiable, with what their sensors make of it.

Arrays are columns first, (K, N) for N vehicles: every component is then contiguous, which is what both
vectorising compilers and the component-wise dynamics of the core want. The code is the same on CPU and CUDA.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from control_stack.algebra import body_axes
from control_stack.errors import InvalidInput, UnknownName
from control_stack.foundation.airframes import Airframes, Conditions
from control_stack.quadrotor.dynamics import rk4_step, semi_implicit_step
from control_stack.quadrotor.parameters import airframe_from_columns

DT = 0.01  # s, RAPTOR's step and control period
LONGEST_DELAY = 8  # steps of DT
ROTORS = slice(13, 17)
_SENSED = slice(3, 13)  # what may be delayed: velocity, quaternion, body rate
_STEPS = {"rk4": rk4_step, "semi_implicit": semi_implicit_step}
# Rows of a thrust curve's coefficients in the flat airframe: c0, c1, c2 of four rotors.
_CURVE = slice(16, 28)
# Unit sensor noise, see ``Conditions.noise``: m, m/s, rad, rad/s.
_NOISE = (0.001, 0.010, 0.0035, 0.0175)


@dataclass
class Fleet:
    """N vehicles with the conditions of their episode, as tensors.

    Attributes:
        columns: (51, N) airframes.
        disturbance: (9, N) wind_w (none), force_w N, torque_b N m.
        velocity_lag, attitude_lag: (LONGEST_DELAY + 1, 1, N) one-hot choice among the last samples.
        noise: (1, N) factor on the unit noise.
        sag: (1, N) thrust lost per second, relative.
    """

    columns: Tensor
    disturbance: Tensor
    velocity_lag: Tensor
    attitude_lag: Tensor
    noise: Tensor
    sag: Tensor

    @classmethod
    def of(cls, airframes: Airframes, conditions: Conditions, device: Any = "cpu", dtype: Any = None) -> Fleet:
        """Puts a batch on a device. Delays are rounded to whole steps.

        Raises:
            InvalidInput: A delay beyond LONGEST_DELAY steps.
        """
        dtype = dtype or torch.float32

        def tensor(value: Any) -> Tensor:
            return torch.as_tensor(value, dtype=dtype, device=device)

        def lag(seconds: Any) -> Tensor:
            steps = torch.round(torch.as_tensor(seconds, dtype=torch.float64) / DT).long()
            if int(steps.min()) < 0 or int(steps.max()) > LONGEST_DELAY:
                raise InvalidInput(f"delays must lie in 0..{LONGEST_DELAY * DT:g} s")
            return tensor(torch.nn.functional.one_hot(steps, LONGEST_DELAY + 1).T[:, None])

        force, torque = tensor(conditions.force_w), tensor(conditions.torque_b)
        return cls(
            columns=tensor(airframes.columns),
            disturbance=torch.cat([torch.zeros_like(force), force, torque]),
            velocity_lag=lag(conditions.velocity_delay),
            attitude_lag=lag(conditions.attitude_delay),
            noise=tensor(conditions.noise)[None],
            sag=tensor(conditions.sag)[None] / 10.0,
        )

    def __len__(self) -> int:
        return self.columns.shape[1]

    def replace(self, chosen: Tensor, other: Fleet) -> Fleet:
        """Takes the vehicles of ``other`` where ``chosen`` (N,) is true."""
        return Fleet(*(torch.where(chosen, b, a) for a, b in zip(self.tensors(), other.tensors(), strict=True)))

    def tensors(self) -> tuple[Tensor, ...]:
        """All fields, in order."""
        return (self.columns, self.disturbance, self.velocity_lag, self.attitude_lag, self.noise, self.sag)


def world_step(
    x: Tensor, u: Tensor, columns: Tensor, disturbance: Tensor, thrust_left: Any = 1.0, method: str = "rk4"
) -> Tensor:
    """One step of DT.

    Args:
        x: (17, N) states. u: (4, N) normalised rotor speed commands, 0..1. columns: (51, N) airframes.
        disturbance: (9, N).
        thrust_left: Factor on all thrust, for a sagging battery; a number or (1, N).
        method: "rk4" or "semi_implicit".

    Returns:
        (17, N).

    Raises:
        UnknownName: No such method.
    """
    if method not in _STEPS:
        raise UnknownName("integration method", method, _STEPS)
    if isinstance(thrust_left, Tensor):
        columns = torch.cat([columns[: _CURVE.start], columns[_CURVE] * thrust_left, columns[_CURVE.stop :]])
    airframe = airframe_from_columns(columns.unbind(0))
    return torch.stack(_STEPS[method](x.unbind(0), u.unbind(0), airframe, DT, disturbance.unbind(0)))


def fresh_history(x: Tensor) -> Tensor:
    """(LONGEST_DELAY + 1, 10, N) as if the vehicles had always been in state x."""
    return x[None, _SENSED].expand(LONGEST_DELAY + 1, -1, -1).clone()


def remember(history: Tensor, x: Tensor) -> Tensor:
    """The history with the newest state in front."""
    return torch.cat([x[None, _SENSED], history[:-1]])


def sensed(x: Tensor, history: Tensor, velocity_lag: Tensor, attitude_lag: Tensor) -> Tensor:
    """(13, N) position (never delayed), velocity, quaternion and rate of the age that the lags choose."""
    velocity = (history[:, 0:3] * velocity_lag).sum(0)
    attitude = (history[:, 3:10] * attitude_lag).sum(0)
    return torch.cat([x[0:3], velocity, attitude])


def with_noise(measured: Tensor, unit: Tensor, noise: Tensor) -> Tensor:
    """Adds white noise: ``unit`` (12, N) standard normal on position, velocity, attitude (small turn), rate."""
    sp, sv, sq, sw = _NOISE
    scaled = unit * noise
    q = measured[6:10]
    hx, hy, hz = (0.5 * sq * scaled[6:9]).unbind(0)
    x, y, z, w = q.unbind(0)
    turned = torch.stack(
        [x + w * hx + y * hz - z * hy, y + w * hy + z * hx - x * hz, z + w * hz + x * hy - y * hx,
         w - x * hx - y * hy - z * hz]
    )  # fmt: skip
    turned = turned / turned.square().sum(0, keepdim=True).sqrt()
    return torch.cat(
        [
            measured[0:3] + sp * scaled[0:3],
            measured[3:6] + sv * scaled[3:6],
            turned,
            measured[10:13] + sw * scaled[9:12],
        ]
    )


def observe(measured: Tensor, reference: Tensor, previous: Tensor) -> Tensor:
    """The policy's 22 observations: position error, R row by row, velocity error, rate, previous raw action.

    Args:
        measured: (13, N). reference: (6, N) position and velocity. previous: (4, N) raw network output.
    """
    columns = body_axes(tuple(measured[6:10].unbind(0)))  # type: ignore[arg-type]
    rotation = torch.stack([columns[j][i] for i in range(3) for j in range(3)])
    error = measured[0:6] - reference
    return torch.cat([error[0:3], rotation, error[3:6], measured[10:13], previous])


def rotor_command(raw: Tensor) -> Tensor:
    """(4, N) normalised rotor speed commands of raw actions: (clamp(a, -1, 1) + 1) / 2."""
    return 0.5 * (raw.clamp(-1.0, 1.0) + 1.0)

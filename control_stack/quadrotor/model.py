"""The quadrotor as a batched discrete-time model for NumPy and torch, with its CasADi twin.

    x+ = f(x, u, p): one RK4 step of the equations in ``dynamics.py`` with u and p held over the step

Batch-first: leading dimensions of x, u, p and of the airframe broadcast. NumPy in, NumPy out; as soon as one
of them is a torch tensor the step runs in torch on that tensor's device and type, differentiable in all of
them. torch is imported only where a tensor is met or ``compiled`` is called.
"""

from __future__ import annotations

import copy
import sys
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from control_stack.errors import InvalidInput, MissingDependency, UnknownName
from control_stack.protocols import DynamicsSpec
from control_stack.quadrotor.dynamics import (
    DISTURBANCE_SIZE,
    INPUT_SIZE,
    NO_DISTURBANCE,
    STATE_SIZE,
    derivative,
    rk4_step,
)
from control_stack.quadrotor.parameters import (
    AIRFRAME_SIZE,
    Airframe,
    QuadrotorParameters,
    airframe_from_columns,
)
from control_stack.types import Array

_METHODS = ("rk4",)
_STATE = (
    *(f"position_w.{axis} [m]" for axis in "xyz"),
    *(f"velocity_w.{axis} [m/s]" for axis in "xyz"),
    *(f"quat_xyzw.{axis} [1]" for axis in "xyzw"),
    *(f"omega_b.{axis} [rad/s]" for axis in "xyz"),
    *(f"rotor_speed.{i} [rad/s]" for i in range(4)),
)
_INPUTS = tuple(f"rotor_speed_command.{i} [rad/s]" for i in range(INPUT_SIZE))
_PARAMETERS = (
    *(f"wind_w.{axis} [m/s]" for axis in "xyz"),
    *(f"force_w.{axis} [N]" for axis in "xyz"),
    *(f"torque_b.{axis} [N m]" for axis in "xyz"),
)


def _is_tensor(value: Any) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def _check(name: str, shape: tuple[int, ...], size: int) -> None:
    if not shape or shape[-1] != size:
        raise InvalidInput(f"{name} must have {size} components on its last axis, got shape {tuple(shape)}")


def _batch_of(shapes: dict[str, tuple[int, ...]]) -> tuple[int, ...]:
    """Common batch shape of the arguments, each given with its last axis."""
    try:
        return np.broadcast_shapes(*(shape[:-1] for shape in shapes.values()))
    except ValueError:
        text = ", ".join(f"{name} {tuple(shape)}" for name, shape in shapes.items())
        raise InvalidInput(f"leading dimensions do not broadcast: {text}") from None


class QuadrotorDynamics:
    """A quadrotor, or a batch of different ones, stepped by dt seconds.

    Attributes:
        dt: Step, s.
        batch: Leading dimensions of the airframe, () for one vehicle.
    """

    def __init__(self, parameters: QuadrotorParameters | Any, dt: float, method: str = "rk4"):
        """Binds the airframe.

        Args:
            parameters: A vehicle, whose fields may have leading batch dimensions; or its flat form (..., 51)
                (``QuadrotorParameters.flatten``) as an array or, for gradients, as a torch tensor.
            dt: Step, s, positive.
            method: Integrator; "rk4" is the only one.

        Raises:
            UnknownName: No such method.
            InvalidInput: dt or the shape of the parameters is not usable.
        """
        if method not in _METHODS:
            raise UnknownName("integration method", method, _METHODS)
        if not (np.isfinite(dt) and dt > 0.0):
            raise InvalidInput(f"dt must be a positive number of seconds, got {dt}")
        self.dt = float(dt)
        flat = parameters.flatten() if isinstance(parameters, QuadrotorParameters) else parameters
        self._flat: Any = flat if _is_tensor(flat) else np.asarray(flat, dtype=float)
        _check("parameters", self._flat.shape, AIRFRAME_SIZE)
        self.batch: tuple[int, ...] = tuple(self._flat.shape[:-1])
        # One airframe of floats serves every array type and lets compilers fold its numbers.
        single = not _is_tensor(self._flat) and not self.batch
        self._airframe: Airframe | None = airframe_from_columns(self._flat.tolist()) if single else None
        self._slope: Callable[..., Any] | None = None  # fused equations of motion, see ``compiled``
        self._spec = DynamicsSpec(_STATE, _INPUTS, _PARAMETERS, np.zeros(DISTURBANCE_SIZE), self.dt)

    @property
    def spec(self) -> DynamicsSpec:
        """Names and units of x, u and p (the disturbance: wind, external force and torque), and dt."""
        return self._spec

    def step(self, x: Any, u: Any, p: Any = None) -> Any:
        """x+ after dt seconds.

        Args:
            x: (..., 17) position_w, velocity_w, quat_xyzw, omega_b, rotor_speed.
            u: (..., 4) rotor speed commands, rad/s.
            p: (..., 9) wind_w m/s, force_w N, torque_b N m; None for none.

        Returns:
            (..., 17), quaternion of unit norm; a tensor if any argument or the airframe is one, else float64.

        Raises:
            InvalidInput: A last axis of the wrong size, or leading dimensions that do not broadcast.
        """
        if self._in_torch(x, u, p):
            x, u, p = self._tensors(x, u, p)
            return self._tensor_step(*self._aligned(x, u, p), self._flat_like(x))
        return self._array_step(*_arrays(x, u, p))

    def rollout(self, x0: Any, us: Any, p: Any = None) -> Any:
        """The states from x0 under a sequence of inputs, p constant.

        Args:
            x0: (..., 17). us: (..., T, 4). p: (..., 9) or None.

        Returns:
            (..., T + 1, 17), x0 first.

        Raises:
            InvalidInput: As ``step``, or us without a time axis.
        """
        x: Any
        tensors = self._in_torch(x0, us, p)
        x, us, p = self._tensors(x0, us, p) if tensors else _arrays(x0, us, p)
        if len(us.shape) < 2:
            raise InvalidInput(f"us must have shape (..., T, {INPUT_SIZE}), got {tuple(us.shape)}")
        steps = us.shape[-2]
        shapes = {"x0": x.shape, "us": (*us.shape[:-2], INPUT_SIZE), "parameters": self._flat.shape}
        batch = _batch_of(shapes if p is None else {**shapes, "p": p.shape})
        if not tensors:
            out = np.empty((*batch, steps + 1, STATE_SIZE))
            out[..., 0, :] = x
            for t in range(steps):
                out[..., t + 1, :] = self._array_step(out[..., t, :], us[..., t, :], p)
            return out
        import torch

        states = [x.expand(*batch, STATE_SIZE)]
        # Time first and contiguous: every step then sees the same strides, which compilers specialise on.
        for u in us.movedim(-2, 0).contiguous():
            aligned = self._aligned(states[-1], u, p)
            states.append(self._tensor_step(*aligned, self._flat_like(x)))
        return torch.stack(states, dim=-2)

    def to_casadi(self) -> Any:
        """casadi.Function f(x[17], u[4], p[9]) -> x+[17] of this airframe.

        Raises:
            InvalidInput: The airframe is batched; a symbolic step describes one vehicle.
            MissingDependency: casadi is not installed.
        """
        from control_stack.quadrotor.symbolic import import_casadi, step_function

        if self.batch:
            raise InvalidInput(f"to_casadi needs one vehicle, not a batch of shape {self.batch}")
        ca = import_casadi()
        flat = self._flat.detach().cpu().numpy() if _is_tensor(self._flat) else self._flat
        x, u = ca.SX.sym("x", STATE_SIZE), ca.SX.sym("u", INPUT_SIZE)
        p = ca.SX.sym("p", DISTURBANCE_SIZE)
        y = step_function(self.dt)(x, u, p, ca.SX(ca.DM(flat)))
        return ca.Function("quadrotor", [x, u, p], [y], ["x", "u", "p"], ["x_next"])

    def compiled(self) -> QuadrotorDynamics:
        """This model with its torch equations of motion fused by torch.compile, an optional acceleration.

        The first call of each batch shape, type and device compiles (seconds; torch caches the result on
        disk). Without a working compiler the model stays eager and a RuntimeWarning says so once.

        Raises:
            MissingDependency: torch is not installed.
        """
        fast = copy.copy(self)
        fast._slope = _CompiledOrEager(self._tensor_slope)
        return fast

    def _in_torch(self, *arguments: Any) -> bool:
        return any(_is_tensor(a) for a in (*arguments, self._flat))

    def _tensors(self, x: Any, u: Any, p: Any) -> tuple[Any, Any, Any]:
        """The arguments as tensors of one device and type: those of the first that is a tensor."""
        import torch

        like: Any = next(a for a in (x, u, p, self._flat) if _is_tensor(a))
        if not like.is_floating_point():
            raise InvalidInput(f"tensors must be of a floating type, got {like.dtype}")

        def convert(value: Any) -> Any:
            return None if value is None else torch.as_tensor(value, dtype=like.dtype, device=like.device)

        return convert(x), convert(u), convert(p)

    def _flat_like(self, x: Any) -> Any:
        """The airframe for the tensor kernel: None where the one of floats serves."""
        if self._airframe is not None:
            return None
        import torch

        return torch.as_tensor(self._flat, dtype=x.dtype, device=x.device)

    def _aligned(self, x: Any, u: Any, p: Any) -> tuple[Any, Any, Any]:
        """x, u and p with their last axes checked and x broadcast to the whole batch."""
        _check("x", x.shape, STATE_SIZE)
        _check("u", u.shape, INPUT_SIZE)
        shapes = {"x": x.shape, "u": u.shape, "parameters": self._flat.shape}
        if p is not None:
            _check("p", p.shape, DISTURBANCE_SIZE)
            shapes["p"] = p.shape
        batch = _batch_of(shapes)
        if tuple(x.shape[:-1]) != batch:
            x = np.broadcast_to(x, (*batch, STATE_SIZE)) if isinstance(x, np.ndarray) else x.expand(*batch, STATE_SIZE)
        return x, u, p

    def _tensor_slope(self, x: Any, u: Any, p: Any, flat: Any) -> Any:
        """dx/dt, (..., 17)."""
        import torch

        airframe = self._airframe if flat is None else airframe_from_columns(flat.unbind(-1))
        disturbance = NO_DISTURBANCE if p is None else p.unbind(-1)
        slope = derivative(x.unbind(-1), u.unbind(-1), airframe, disturbance)  # type: ignore[arg-type]
        return torch.stack(slope, dim=-1)

    def _tensor_step(self, x: Any, u: Any, p: Any, flat: Any) -> Any:
        import torch

        if self._slope is None:
            # Eager, by component: operations of one column are too small for torch to spread over threads,
            # which costs more than it brings here, and ruins the throughput of a busy machine.
            airframe = self._airframe if flat is None else airframe_from_columns(flat.unbind(-1))
            given = NO_DISTURBANCE if p is None else p.unbind(-1)
            columns = x.movedim(-1, 0).contiguous().unbind(0)
            moved = rk4_step(columns, u.unbind(-1), airframe, self.dt, given)  # type: ignore[arg-type]
            return torch.stack(moved, dim=-1)
        slope = self._slope
        y = _rk4(lambda s: slope(s, u, p, flat), x.contiguous(), self.dt, lambda a, h, b: torch.add(a, b, alpha=h))
        q = y[..., 6:10]
        return torch.cat([y[..., :6], q / (q * q).sum(-1, keepdim=True).sqrt(), y[..., 10:]], dim=-1)

    def _array_step(self, x: Array, u: Array, p: Array | None) -> Array:
        x, u, p = self._aligned(x, u, p)
        if x.ndim == 1:  # one vehicle: components as floats are much faster than arrays of no dimension
            given = NO_DISTURBANCE if p is None else p.tolist()
            single = rk4_step(x.tolist(), u.tolist(), self._airframe, self.dt, given)  # type: ignore[arg-type]
            return np.array(single)
        airframe = self._airframe or airframe_from_columns(_columns(self._flat))
        disturbance = NO_DISTURBANCE if p is None else _columns(p)
        inputs = _columns(u)

        def slope(s: Array) -> Array:
            return np.stack(derivative(_columns(s), inputs, airframe, disturbance), axis=-1)

        y = _rk4(slope, x, self.dt, lambda a, h, b: a + h * b)
        y[..., 6:10] /= np.sqrt((y[..., 6:10] ** 2).sum(-1, keepdims=True))
        return y


def _rk4(slope: Callable[[Any], Any], x: Any, dt: float, along: Callable[[Any, float, Any], Any]) -> Any:
    """``dynamics.rk4_step`` on stacked states, before it renormalises; along(a, h, b) = a + h b."""
    k1 = slope(x)
    k2 = slope(along(x, 0.5 * dt, k1))
    k3 = slope(along(x, 0.5 * dt, k2))
    k4 = slope(along(x, dt, k3))
    return along(x, dt / 6.0, along(k1 + k4, 2.0, k2 + k3))


def _columns(x: Array) -> tuple[Array, ...]:
    return tuple(np.ascontiguousarray(np.moveaxis(x, -1, 0)))


def _arrays(x: Any, u: Any, p: Any) -> tuple[Array, Array, Array | None]:
    return (
        np.asarray(x, dtype=float),
        np.asarray(u, dtype=float),
        None if p is None else np.asarray(p, dtype=float),
    )


class _CompiledOrEager:
    """A function through torch.compile, or as it is from the first failure to compile on."""

    def __init__(self, eager: Callable[..., Any]):
        try:
            import torch
        except ImportError:
            raise MissingDependency("torch", "learn") from None
        self._eager = eager
        self._fast: Callable[..., Any] | None = torch.compile(eager)

    def __call__(self, *arguments: Any) -> Any:
        if self._fast is not None:
            try:
                return self._fast(*arguments)
            except Exception as error:  # the kinds differ with backend and version of torch
                result = self._eager(*arguments)  # what was wrong with the arguments is raised here, as it is
                self._fast = None
                reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
                warnings.warn(f"torch.compile failed, running eagerly: {reason}", RuntimeWarning, stacklevel=3)
                return result
        return self._eager(*arguments)

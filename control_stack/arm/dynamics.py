"""The nominal model of an arm for floats, NumPy and torch, with its CasADi twins.

    M(q, p) q'' + c(q, q', p) + g(q, p) + f(q') = tau        x = (q, q'), u = tau, p = load (10 numbers, ``chain``)

Batch-first: leading dimensions broadcast. NumPy in, NumPy out; as soon as one argument is a torch tensor the
call runs in torch on that tensor's device and type, differentiable in all of them.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from control_stack.arm import rigid_body
from control_stack.arm.chain import INERTIA_SIZE, NO_INERTIA
from control_stack.arm.friction import friction_torque
from control_stack.arm.load import LOAD_NAMES
from control_stack.arm.parameters import ArmParameters
from control_stack.errors import InvalidInput
from control_stack.protocols import DynamicsSpec

# s: the friction of light joints settles within milliseconds, and RK4 must resolve it (2.7 time constants at most).
_LONGEST_STEP = 0.005
Columns = tuple[Any, ...]


class ArmDynamics:
    """An arm with what it holds, stepped by dt seconds.

    Attributes:
        arm: Its parameters.
        dt: Step, s.
    """

    def __init__(self, arm: ArmParameters, dt: float):
        """Binds the parameters. dt: step, s, positive; split into RK4 steps of at most 5 ms. Raises InvalidInput."""
        if not (math.isfinite(dt) and dt > 0.0):
            raise InvalidInput(f"dt must be a positive number of seconds, got {dt}")
        self.arm, self.dt = arm, float(dt)
        self._substeps = math.ceil(dt / _LONGEST_STEP - 1e-9)
        state = (*(f"{n}.position [rad]" for n in arm.joint_names), *(f"{n}.velocity [rad/s]" for n in arm.joint_names))
        inputs = tuple(f"{n}.effort [N m]" for n in arm.joint_names)
        self._spec = DynamicsSpec(state, inputs, LOAD_NAMES, np.zeros(INERTIA_SIZE), self.dt)

    @property
    def spec(self) -> DynamicsSpec:
        """Names and units of x (positions, then velocities), u (torques) and p (the load), and dt."""
        return self._spec

    def step(self, x: Any, u: Any, p: Any = None) -> Any:
        """(..., 2n), (..., n), (..., 10) or None for no load -> (..., 2n) after dt seconds with u and p held."""
        n = self.arm.joints
        return self._call(self.step_columns, (2 * n,), x=(x, 2 * n), u=(u, n), p=(p, INERTIA_SIZE))

    def rollout(self, x0: Any, us: Any, p: Any = None) -> Any:
        """The states from x0 (..., 2n) under inputs us (..., T, n): (..., T + 1, 2n), x0 first; p constant."""
        if len(np.shape(us)) < 2:
            raise InvalidInput(f"us must have shape (..., T, {self.arm.joints}), got {tuple(np.shape(us))}")
        us = us if _torch_of(us) else np.asarray(us, dtype=float)
        states = [x0]
        for t in range(us.shape[-2]):
            states.append(self.step(states[-1], us[..., t, :], p))
        torch = next((found for s in states[::-1] if (found := _torch_of(s))), None)
        if torch is not None:
            last = states[-1]
            states[0] = torch.as_tensor(states[0], dtype=last.dtype, device=last.device).expand(last.shape)
            return torch.stack(states, dim=-2)
        return np.stack([np.broadcast_to(s, np.shape(states[-1])) for s in states], axis=-2)

    def inverse(self, q: Any, qd: Any, qdd: Any, p: Any = None) -> Any:
        """tau (..., n), N m, that moves the arm so, friction included."""
        n = self.arm.joints
        return self._call(self.inverse_columns, (n,), q=(q, n), qd=(qd, n), qdd=(qdd, n), p=(p, INERTIA_SIZE))

    def forward(self, q: Any, qd: Any, tau: Any, p: Any = None) -> Any:
        """q'' (..., n), rad/s^2, under torques tau."""
        n = self.arm.joints
        return self._call(self.forward_columns, (n,), q=(q, n), qd=(qd, n), tau=(tau, n), p=(p, INERTIA_SIZE))

    def mass_matrix(self, q: Any, p: Any = None) -> Any:
        """M (..., n, n), kg m^2."""
        n, chain = self.arm.joints, self.arm.chain
        return self._call(lambda *a: rigid_body.mass_matrix(chain, *a), (n, n), q=(q, n), p=(p, INERTIA_SIZE))

    def bias(self, q: Any, qd: Any, p: Any = None) -> Any:
        """c + g (..., n), N m: what rigid bodies that do not accelerate need; no friction."""
        n, chain = self.arm.joints, self.arm.chain

        def columns(q: Columns, qd: Columns, p: Columns) -> Columns:
            return rigid_body.inverse_dynamics(chain, q, qd, (0.0,) * n, p)

        return self._call(columns, (n,), q=(q, n), qd=(qd, n), p=(p, INERTIA_SIZE))

    def friction(self, qd: Any) -> Any:
        """f (..., n), N m."""
        n = self.arm.joints
        return self._call(lambda v: friction_torque(v, self.arm.friction), (n,), qd=(qd, n))

    def flange(self, q: Any) -> tuple[Any, Any]:
        """Position (..., 3), m, and rotation (..., 3, 3) of the flange in the base frame."""
        n = self.arm.joints
        both = self._call(lambda a: _flat_pose(rigid_body.joint_poses(self.arm.chain, a)[-1]), (4, 3), q=(q, n))
        columns = both[..., 1:, :]
        return both[..., 0, :], columns.transpose(-1, -2) if _torch_of(columns) else columns.swapaxes(-1, -2)

    def jacobian(self, q: Any) -> Any:
        """(..., 6, n): velocity (m/s) and angular velocity (rad/s) of the flange in the base frame per q'."""
        n = self.arm.joints
        return self._call(lambda a: rigid_body.flange_jacobian(self.arm.chain, a), (6, n), q=(q, n))

    def energy(self, q: Any, qd: Any, p: Any = None) -> Any:
        """Kinetic and potential energy (...), J; the latter is 0 where all mass lies at the height of the base."""
        n, chain = self.arm.joints, self.arm.chain

        def columns(q: Columns, qd: Columns, p: Columns) -> Columns:
            matrix = rigid_body.mass_matrix(chain, q, p)
            kinetic = sum(
                0.5 * a * m * b for a, row in zip(qd, matrix, strict=True) for m, b in zip(row, qd, strict=True)
            )
            return (kinetic + rigid_body.potential_energy(chain, q, p),)

        return self._call(columns, (1,), q=(q, n), qd=(qd, n), p=(p, INERTIA_SIZE))[..., 0]

    def to_casadi(self) -> Any:
        """casadi.Function f(x, u, p) -> x+. See ``symbolic`` for the other functions. Raises MissingDependency."""
        from control_stack.arm.symbolic import step_function

        return step_function(self)

    # On tuples of scalars of any kind: what the CasADi twins are built from.

    def inverse_columns(self, q: Columns, qd: Columns, qdd: Columns, p: Columns = NO_INERTIA) -> Columns:
        """tau, friction included."""
        tau = rigid_body.inverse_dynamics(self.arm.chain, q, qd, qdd, p)
        return tuple(a + b for a, b in zip(tau, friction_torque(qd, self.arm.friction), strict=True))

    def forward_columns(self, q: Columns, qd: Columns, tau: Columns, p: Columns = NO_INERTIA) -> Columns:
        """q'' under torques with friction."""
        net = tuple(a - b for a, b in zip(tau, friction_torque(qd, self.arm.friction), strict=True))
        return rigid_body.forward_dynamics(self.arm.chain, q, qd, net, p)

    def step_columns(
        self, x: Columns, u: Columns, p: Columns = NO_INERTIA, forward: Callable[..., Columns] | None = None
    ) -> Columns:
        """x+ by RK4; ``forward`` stands in for ``forward_columns`` where that is a function already."""
        n, acceleration = self.arm.joints, forward or self.forward_columns
        h = self.dt / self._substeps

        def slope(y: Columns) -> Columns:
            return (*y[n:], *acceleration(y[:n], y[n:], u, p))

        def along(k: Columns, length: float) -> Columns:
            return tuple(a + length * b for a, b in zip(x, k, strict=True))

        for _ in range(self._substeps):
            k1 = slope(x)
            k2 = slope(along(k1, 0.5 * h))
            k3 = slope(along(k2, 0.5 * h))
            k4 = slope(along(k3, h))
            x = tuple(a + h / 6.0 * (b + 2.0 * (c + d) + e) for a, b, c, d, e in zip(x, k1, k2, k3, k4, strict=True))
        return x

    def _call(self, function: Callable[..., Any], shape: tuple[int, ...], **given: tuple[Any, int]) -> Any:
        """Runs a function of columns on arrays or tensors.

        Args:
            function: Tuples of scalars to a tuple, or tuples, of scalars.
            shape: Of one result.
            given: By name, value (..., size) and size; None stands for no load.

        Raises:
            InvalidInput: A last axis of the wrong size, or leading dimensions that do not broadcast.
        """
        torch = next((found for value, _ in given.values() if (found := _torch_of(value))), None)
        if torch is None:
            values = {k: None if v is None else np.asarray(v, dtype=float) for k, (v, _) in given.items()}
        else:
            like = next(value for value, _ in given.values() if _torch_of(value))
            values = {
                k: None if v is None else torch.as_tensor(v, dtype=like.dtype, device=like.device)
                for k, (v, _) in given.items()
            }
        for name, (_, size) in given.items():
            value = values[name]
            if value is not None and (value.ndim == 0 or value.shape[-1] != size):
                found = tuple(value.shape)
                raise InvalidInput(f"{name} must have {size} components on its last axis, got shape {found}")
        shapes = {k: tuple(v.shape) for k, v in values.items() if v is not None}
        try:
            batch = np.broadcast_shapes(*(s[:-1] for s in shapes.values()))
        except ValueError:
            text = ", ".join(f"{k} {s}" for k, s in shapes.items())
            raise InvalidInput(f"leading dimensions do not broadcast: {text}") from None
        result = function(*(_columns(value, torch) for value in values.values()))
        entries = [entry for row in result for entry in (row if isinstance(row, tuple) else (row,))]
        if torch is not None:
            full = [torch.as_tensor(e, dtype=like.dtype, device=like.device).expand(batch) for e in entries]
            return torch.stack(full, dim=-1).reshape(*batch, *shape)
        if not batch:
            return np.array(entries).reshape(shape)
        return np.stack([np.broadcast_to(e, batch) for e in entries], axis=-1).reshape(*batch, *shape)


def _torch_of(value: Any) -> Any:
    """The module torch if the value is a tensor, else None."""
    torch = sys.modules.get("torch")
    return torch if torch is not None and isinstance(value, torch.Tensor) else None


def _columns(value: Any, torch: Any) -> Columns:
    if value is None:
        return NO_INERTIA
    if torch is not None:
        return tuple(value.unbind(-1))
    # Floats are several times faster than arrays of one number.
    return tuple(value.tolist()) if value.ndim == 1 else tuple(np.moveaxis(value, -1, 0))


def _flat_pose(pose: rigid_body.Pose) -> tuple[Columns, ...]:
    position, axes = pose
    return (position, *axes)

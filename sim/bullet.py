"""The PyBullet simulator: Bullet integrates the body and its contacts, the core the forces.

Bullet's step is semi-implicit Euler, of first order: after t seconds of acceleration a the position is
a t dt / 2 ahead of the exact one. Rotors follow their first-order lag exactly within a step.
"""

from __future__ import annotations

import contextlib
import ctypes
import math
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from control_stack.algebra import add, cross, rotate, rotate_inverse, subtract
from control_stack.errors import MissingDependency
from control_stack.quadrotor.contact import FRICTION
from control_stack.quadrotor.dynamics import drag_force, rotor_thrust, rotor_wrench
from control_stack.quadrotor.parameters import GRAVITY
from control_stack.types import Array
from sim.quadrotor import SimulatedQuadrotor
from sim.urdf import quadrotor_urdf

Columns = tuple[float, ...]


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Sends what C code prints to nowhere: Bullet's banner and URDF notes are not this program's output."""
    libc = ctypes.CDLL(None)

    def flush() -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        libc.fflush(None)

    flush()
    saved = [(fd, os.dup(fd)) for fd in (1, 2)]
    null = os.open(os.devnull, os.O_WRONLY)
    try:
        for fd, _ in saved:
            os.dup2(null, fd)
        yield
    finally:
        flush()  # into the null device, before the real ones are back
        for fd, copy in saved:
            os.dup2(copy, fd)
            os.close(copy)
        os.close(null)


def import_pybullet(instead: str = "the analytic simulator needs none") -> ModuleType:
    """pybullet without its banner. Raises MissingDependency, which says what goes without it."""
    try:
        with quiet():
            import pybullet
    except ImportError:
        note = f"PyBullet has wheels up to Python 3.11; {instead}"
        raise MissingDependency("pybullet", "sim", note=note) from None
    return pybullet


class BulletQuadrotor(SimulatedQuadrotor):
    """A rigid body with a box for contact on a plane, in a DIRECT client of its own.

    A payload changes the body itself (mass, inertia, centre of mass), which keeps it exactly rigid; a
    constraint between two bodies would be a stiff spring.
    """

    def _open(self) -> None:
        self._pb: Any = import_pybullet()
        pb = self._pb
        self._client = pb.connect(pb.DIRECT)
        self._options = {"physicsClientId": self._client}
        pb.setTimeStep(self.physics_dt, **self._options)
        pb.setGravity(0.0, 0.0, -GRAVITY, **self._options)
        pb.setPhysicsEngineParameter(
            numSolverIterations=50, numSubSteps=0, deterministicOverlappingPairs=1, **self._options
        )
        plane = pb.createCollisionShape(pb.GEOM_PLANE, **self._options)
        ground = pb.createMultiBody(0.0, plane, **self._options)
        # Bullet multiplies the two bodies' coefficients.
        pb.changeDynamics(ground, -1, lateralFriction=1.0, restitution=0.0, **self._options)
        self._body: int | None = None
        self._loaded: tuple[float, ...] = ()

    def _shut(self) -> None:
        self._pb.disconnect(self._client)

    def _place(self) -> None:
        flown = self._flown
        wanted = (float(flown.mass), *np.asarray(flown.inertia).tolist(), *self._offset.tolist())
        if wanted != self._loaded:
            self._load()
            self._loaded = wanted
        x = self._x.tolist()
        pb, body = self._pb, self._body
        pb.resetBasePositionAndOrientation(body, x[0:3], x[6:10], **self._options)
        pb.resetBaseVelocity(body, x[3:6], rotate(tuple(x[6:10]), tuple(x[10:13])), **self._options)  # type: ignore[arg-type]

    def _load(self) -> None:
        pb = self._pb
        if self._body is not None:
            pb.removeBody(self._body, **self._options)
        with tempfile.TemporaryDirectory() as folder, quiet():
            file = Path(folder) / "quadrotor.urdf"
            file.write_text(quadrotor_urdf(self._flown, self._offset), encoding="utf-8")
            # Without the flag Bullet would take the inertia of the collision box.
            self._body = pb.loadURDF(str(file), flags=pb.URDF_USE_INERTIA_FROM_FILE, **self._options)
        # Bullet damps every body by default (0.04 1/s); the drag here is the core's alone.
        pb.changeDynamics(
            self._body,
            -1,
            linearDamping=0.0,
            angularDamping=0.0,
            lateralFriction=FRICTION,
            restitution=0.0,
            **self._options,
        )

    def _advance(self, wind_w: Array) -> Array:
        pb, body, options = self._pb, self._body, self._options
        airframe, dt = self._flown.airframe, self.physics_dt
        push, twist = self._disturbance[0:3], self._disturbance[3:6]
        rise = [math.exp(-dt / tau) for tau in airframe.rise_time]
        fall = [math.exp(-dt / tau) for tau in airframe.fall_time]
        x = tuple(self._x.tolist())
        path = np.empty((len(wind_w), 17))
        for k, wind in enumerate(wind_w.tolist()):
            command = self._rotor_command(x)
            before, quat = x[13:17], x[6:10]
            after = tuple(
                u + (w - u) * (rise[i] if u > w else fall[i])
                for i, (w, u) in enumerate(zip(before, command, strict=True))
            )
            # Thrust of the mean speed over the step.
            mean = tuple(0.5 * (a + b) for a, b in zip(before, after, strict=True))
            thrust, torque = rotor_wrench(rotor_thrust(mean, airframe), airframe)
            force = add(rotate(quat, (0.0, 0.0, thrust)), drag_force(quat, x[3:6], tuple(wind), airframe))  # type: ignore[arg-type]
            torque = add(torque, twist)  # type: ignore[arg-type]
            pb.applyExternalForce(body, -1, add(force, push), x[0:3], pb.WORLD_FRAME, **options)  # type: ignore[arg-type]
            pb.applyExternalTorque(body, -1, rotate(quat, torque), pb.WORLD_FRAME, **options)  # type: ignore[arg-type]
            pb.stepSimulation(**options)
            position, quat = pb.getBasePositionAndOrientation(body, **options)
            velocity, omega_w = pb.getBaseVelocity(body, **options)
            x = (*position, *velocity, *quat, *rotate_inverse(quat, omega_w), *after)
            path[k] = x
        return path

    def _rotor_command(self, x: Columns) -> Columns:
        """The inner loops on floats, at the point they control (as the analytic ``loops_function``)."""
        if self._level is None:
            return (0.0, 0.0, 0.0, 0.0)
        if self._payload is not None:
            r, quat = tuple(self._offset.tolist()), x[6:10]
            position = subtract(x[0:3], rotate(quat, r))  # type: ignore[arg-type]
            velocity = subtract(x[3:6], rotate(quat, cross(x[10:13], r)))  # type: ignore[arg-type]
            x = (*position, *velocity, *x[6:])
        return self.loops.rotor_command(self._level, self._command, x)

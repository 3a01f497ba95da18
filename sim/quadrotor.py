"""What both simulated quadrotors share: commands, clock, sensors, wind, payload, and the levels they accept.

A backend only has to place a rigid body at a state and to advance it; everything a vehicle promises is here.
States inside are 17 numbers (see ``control_stack.quadrotor.dynamics``) of the composite centre of mass,
payload included. States outside are of the airframe's own centre of mass: the point a marker or an estimator
sits on does not move when a payload is attached.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import replace

import numpy as np

from control_stack.algebra import add, cross, quat_from_yaw, rotate
from control_stack.boundary import check_command, check_level, finite, unit_quaternion
from control_stack.errors import InputRejected, InvalidInput, NotConnected
from control_stack.laws.cascade import InnerLoops, command_columns
from control_stack.laws.limits import limit_command
from control_stack.protocols import VehicleSpec
from control_stack.quadrotor.parameters import QuadrotorParameters
from control_stack.types import Array, Command, CommandLevel, QuadrotorState, RotorCommand
from sim.air import BodyDrag
from sim.config import SimulationConfig
from sim.sensors import Sensors
from sim.wind import Wind

LEVELS = (
    CommandLevel.ROTORS,
    CommandLevel.CTBR,
    CommandLevel.ATTITUDE,
    CommandLevel.VELOCITY,
    CommandLevel.POSITION,
)
EXTERNAL_POSE_TIMEOUT = 0.5  # s


class SimulatedQuadrotor(ABC):
    """A quadrotor whose time is ours. Implements ``control_stack.protocols.SimulatedVehicle``.

    ``connect`` builds the world and compiles what is to be compiled; ``close`` tears it down. The inner
    loops run at physics rate on the true state and believe the vehicle file, not what is flown (payload,
    rotor loss).
    """

    def __init__(self, parameters: QuadrotorParameters, config: SimulationConfig):
        self.parameters, self.config = parameters, config
        self.physics_dt = 1.0 / config.physics_rate_hz
        self.leg_height = 0.5 * float(parameters.body_size[2])
        self.loops = InnerLoops.of(parameters)
        self._spec = VehicleSpec(parameters.name, LEVELS, config.control_rate_hz)
        self._air = BodyDrag(parameters) if config.air == "full" else None
        self._connected = False
        self._level: CommandLevel | None = None
        self._command: tuple[float, ...] = ()

    @property
    def spec(self) -> VehicleSpec:
        """Name, levels and rate; known while disconnected."""
        return self._spec

    @property
    def time(self) -> float:
        """Simulated time since the start or the last reset, s."""
        self._require_connection()
        return self._steps / self.config.physics_rate_hz

    @property
    def wind_w(self) -> Array:
        """(3,) velocity of the air at the vehicle now, m/s."""
        self._require_connection()
        return self._wind.now.copy()

    def connect(self) -> None:
        """Builds the world with the vehicle at its start, disarmed. Raises MissingDependency."""
        if self._connected:
            return
        self._open()
        self._connected = True
        self._armed = False
        self.reset()

    def close(self) -> None:
        """Motors off, and the world is gone; ``connect`` makes a new one."""
        if self._connected:
            self._connected = self._armed = False
            self._shut()

    def reset(self, state: QuadrotorState | None = None) -> None:
        """Starts the world anew with the vehicle at ``state``, or at its start.

        A state without rotor_speed has its rotors at rest. Time, gusts and noise start over; payload, rotor
        loss, disturbance and the command in force are gone. The vehicle stays armed or disarmed as it was.

        Raises:
            InvalidInput: The state is not finite, not one vehicle's, or its quaternion not of unit norm.
        """
        self._require_connection()
        x = self._start_state() if state is None else _columns(state)
        if x.shape != (17,) or not np.isfinite(x).all() or abs(np.linalg.norm(x[6:10]) - 1.0) > 1e-6:
            raise InvalidInput("a state to reset to must be one finite state with a unit quaternion")
        self._steps = 0
        wind_seed, sensor_seed = np.random.SeedSequence(self.config.seed).spawn(2)
        self._wind = Wind(self.config.wind, self.physics_dt, np.random.default_rng(wind_seed))
        self._sensors = Sensors(self.config.sensors, self.physics_dt, np.random.default_rng(sensor_seed))
        self._payload: tuple[float, Array] | None = None
        self._rotor_loss = np.zeros(4)
        self._disturbance = (0.0,) * 6
        self._pose: tuple[Array, Array, float] | None = None
        self._forget_command()
        self._x = x
        self._configure_airframe(np.zeros(3))
        truth = self.true_state()
        self._sensors.start(truth)
        self._measured = self._sensors.measure()

    def arm(self) -> None:
        """Lets commands reach the motors; they stay off until the first one."""
        self._require_connection()
        self._armed = True

    def disarm(self) -> None:
        """Motors off whatever is sent; the command in force is forgotten."""
        self._require_connection()
        self._armed = False
        self._forget_command()

    def state(self) -> QuadrotorState:
        """The measured state: one new measurement per ``step`` (see ``SensorConfig``).

        With pose_source "external", position and attitude are those of the last ``external_pose``, and the
        state is not valid while there was none within the last 0.5 s.
        """
        self._require_connection()
        if self.config.pose_source == "internal":
            return self._measured
        if self._pose is None:
            return replace(
                self._measured, position_w=np.zeros(3), quat_xyzw=np.array([0.0, 0.0, 0.0, 1.0]), valid=False
            )
        position, quat, stamp = self._pose
        valid = self.time - stamp <= EXTERNAL_POSE_TIMEOUT
        return replace(self._measured, position_w=position, quat_xyzw=quat, valid=valid)

    def true_state(self) -> QuadrotorState:
        """State without noise or delay."""
        self._require_connection()
        return self._truth(self._x, self.time)

    def send(self, command: Command) -> Command:
        """Holds a command until the next one; returns it as clipped to the vehicle's limits.

        While disarmed it is checked and not kept, and a rotor command of zeros is returned.

        Raises:
            InputRejected: "type", "level", "nan", "shape" or "quaternion"; the last accepted command stays in force.
        """
        self._require_connection()
        check_level(command, LEVELS, self._spec.name)
        check_command(command)
        if not self._armed:
            return RotorCommand(np.zeros(4), stamp=command.stamp)
        sent = limit_command(command, self.parameters)
        self._level, self._command = sent.level, command_columns(sent)
        return sent

    def external_pose(self, position_w: Array, quat_xyzw: Array, stamp: float) -> None:
        """A pose from outside, used when pose_source is "external"; stamp on this vehicle's clock, s.

        Raises:
            InputRejected: Non-finite values, wrong shapes or a quaternion away from unit norm.
        """
        self._require_connection()
        position, when = finite(position_w, "position_w"), float(finite(stamp, "stamp"))
        if position.shape != (3,) or np.shape(quat_xyzw) != (4,):
            raise InputRejected("shape", "a pose is position_w (3,) and quat_xyzw (4,)")
        self._pose = (position.copy(), unit_quaternion(quat_xyzw), when)

    def step(self, dt: float) -> None:
        """Advances by dt seconds.

        Raises:
            InvalidInput: dt is not a positive whole number of physics steps.
        """
        self._require_connection()
        steps = dt * self.config.physics_rate_hz
        n = round(steps) if math.isfinite(steps) else 0
        if n < 1 or abs(steps - n) > 1e-6:
            raise InvalidInput(f"dt must be a whole number of steps of {self.physics_dt:g} s, got {dt:g} s")
        wind = self._wind.sample(n)
        path = self._advance(wind) if self._air is None else self._advance_in(self._air, wind)
        self._x = path[-1]
        recent = min(n, self._sensors.delay_steps + 1)
        for k in range(n - recent, n):
            self._sensors.record(self._truth(path[k], (self._steps + k + 1) / self.config.physics_rate_hz))
        self._steps += n
        self._measured = self._sensors.measure()

    def attach_payload(self, mass: float, offset_b: Array) -> None:
        """Fixes a point mass (kg) at offset_b (m, FLU, on one body axis), at rest relative to the airframe.

        It moves with the airframe before and after, so the airframe's velocity does not jump. It does not
        collide with anything.

        Raises:
            InvalidInput: The mass is not positive, the offset not on a body axis, or one is there already.
        """
        self._require_connection()
        offset = np.array(offset_b, dtype=float)
        if self._payload is not None:
            raise InvalidInput("a payload is already attached")
        if not (math.isfinite(mass) and mass > 0.0) or offset.shape != (3,) or not np.isfinite(offset).all():
            raise InvalidInput(f"a payload needs a positive mass and an offset of 3, got {mass} kg at {offset_b}")
        self.parameters.with_payload(mass, offset)  # refuses what the rigid-body model cannot carry
        self._change_payload((mass, offset))

    def drop_payload(self) -> None:
        """Releases the payload with the velocity it has; does nothing where there is none."""
        self._require_connection()
        if self._payload is not None:
            self._change_payload(None)

    def set_rotor_loss(self, rotor: int, fraction: float) -> None:
        """One rotor gives only (1 - fraction) of its thrust and torque from now on. Raises InvalidInput."""
        self._require_connection()
        if rotor not in range(4) or not 0.0 <= fraction <= 1.0:
            raise InvalidInput(f"rotor loss needs a rotor 0..3 and a fraction 0..1, got {rotor}, {fraction}")
        self._rotor_loss[rotor] = fraction
        self._configure_airframe(self._offset)

    def set_disturbance(self, force_w: Array, torque_b: Array) -> None:
        """Force (N, world) and torque (N m, body) on the centre of mass from now on. Raises InvalidInput."""
        self._require_connection()
        values = np.concatenate([np.asarray(force_w, dtype=float), np.asarray(torque_b, dtype=float)])
        if values.shape != (6,) or not np.isfinite(values).all():
            raise InvalidInput("a disturbance needs a finite force of 3 and torque of 3")
        self._disturbance = tuple(values.tolist())

    # Backends implement these four.

    @abstractmethod
    def _open(self) -> None:
        """Builds what lasts from connect to close."""

    @abstractmethod
    def _shut(self) -> None:
        """Releases it."""

    @abstractmethod
    def _place(self) -> None:
        """Takes over ``_flown``, ``_offset`` and the state ``_x`` after any of them changed."""

    @abstractmethod
    def _advance(self, wind_w: Array) -> Array:
        """Steps once per row of wind_w (n, 3) under ``_level``, ``_command`` and ``_disturbance``.

        Returns (n, 17), the state after each step, in memory of its own.
        """

    def _require_connection(self) -> None:
        if not self._connected:
            raise NotConnected(f"simulated {self._spec.name} is not connected: call connect() first")

    def _advance_in(self, air: BodyDrag, wind_w: Array) -> Array:
        """As ``_advance``, with the air's force on the body held over each physics step."""
        path, start, given = np.empty((len(wind_w), 17)), self._x, self._disturbance
        try:
            for k, wind in enumerate(wind_w):
                force = air.force_w(self._x[3:6], self._x[6:10], wind)
                self._disturbance = tuple((np.array(given) + [*force, 0.0, 0.0, 0.0]).tolist())
                self._x = path[k] = self._advance(wind_w[k : k + 1])[0]
        finally:
            self._x, self._disturbance = start, given
        return path

    def _forget_command(self) -> None:
        self._level, self._command = None, ()

    def _start_state(self) -> Array:
        position = self.config.position_w or (0.0, 0.0, self.leg_height)
        return np.array([*position, 0.0, 0.0, 0.0, *quat_from_yaw(float(self.config.yaw)), *(0.0,) * 7])

    def _change_payload(self, payload: tuple[float, Array] | None) -> None:
        state = self.true_state()
        self._payload = payload
        mass, where = payload if payload else (0.0, np.zeros(3))
        offset = mass / (float(self.parameters.mass) + mass) * where
        self._x = _shift(_columns(state), offset)
        self._configure_airframe(offset)

    def _configure_airframe(self, offset: Array) -> None:
        """``_flown`` from payload and rotor loss; ``offset``: composite centre of mass in the body, m."""
        flown = self.parameters.with_payload(*self._payload) if self._payload else self.parameters
        for rotor in np.flatnonzero(self._rotor_loss):
            flown = flown.with_rotor_loss(int(rotor), float(self._rotor_loss[rotor]))
        self._flown, self._offset = flown, offset
        self._place()

    def _truth(self, x: Array, stamp: float) -> QuadrotorState:
        # A copy: whoever holds a state must not hold the simulator's memory.
        x = x.copy() if self._payload is None else _shift(x, -self._offset)
        return QuadrotorState(x[0:3], x[3:6], x[6:10], x[10:13], x[13:17], stamp)


def _columns(state: QuadrotorState) -> Array:
    rotors = np.zeros(4) if state.rotor_speed is None else state.rotor_speed
    parts = (state.position_w, state.velocity_w, state.quat_xyzw, state.omega_b, rotors)
    return np.concatenate([np.asarray(part, dtype=float) for part in parts])


def _shift(x: Array, offset_b: Array) -> Array:
    """The same motion told for the point offset_b (m, body) away: p + R r, v + R (w x r)."""
    c = x.tolist()
    r, q = tuple(offset_b.tolist()), tuple(c[6:10])
    position = add(tuple(c[0:3]), rotate(q, r))  # type: ignore[arg-type]
    velocity = add(tuple(c[3:6]), rotate(q, cross(tuple(c[10:13]), r)))  # type: ignore[arg-type]
    return np.array([*position, *velocity, *c[6:]])


__all__ = ["EXTERNAL_POSE_TIMEOUT", "LEVELS", "SimulatedQuadrotor"]

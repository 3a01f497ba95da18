"""The simulated arm behind the ``Arm`` protocol: commands, clock, friction, sensors and loads."""

from __future__ import annotations

import math

import numpy as np

from control_stack.arm.dynamics import ArmDynamics
from control_stack.arm.friction import friction_torque
from control_stack.arm.load import NO_LOAD, Load
from control_stack.arm.parameters import ArmParameters
from control_stack.boundary import check_level, finite
from control_stack.errors import InputRejected, InvalidInput, NotConnected
from control_stack.protocols import VehicleSpec
from control_stack.types import ArmState, Array, CommandLevel, JointCommand
from sim.arm.config import ArmSimulationConfig
from sim.arm.world import ArmWorld


class BulletArm:
    """An arm whose time is ours. Implements ``control_stack.protocols.SimulatedArm``.

    Bullet integrates rigid bodies and joint stops; friction is the core's, computed from the speed at the
    start of each physics step. The brakes hold the arm still while it is disarmed and before its first command.

    Attributes:
        parameters: What the arm's file says; ``config.friction`` changes what is simulated, not this.
    """

    def __init__(self, parameters: ArmParameters, config: ArmSimulationConfig | None = None):
        """Raises InvalidInput for a start beyond the joints' stops or friction that the physics rate cannot resolve."""
        self.parameters, self.config = parameters, config or ArmSimulationConfig()
        self.physics_dt = 1.0 / self.config.physics_rate_hz
        self._friction = parameters.with_friction_scaled(np.asarray(self.config.friction)).friction
        self._start = np.array(parameters.home if self.config.position is None else self.config.position, dtype=float)
        self._check_position(self._start)
        self._check_friction()
        self._spec = VehicleSpec(parameters.name, (CommandLevel.JOINTS,), self.config.control_rate_hz)
        self._world: ArmWorld | None = None

    @property
    def spec(self) -> VehicleSpec:
        """Name, levels and rate; known while disconnected."""
        return self._spec

    @property
    def time(self) -> float:
        """Simulated time since the start or the last reset, s."""
        self._connected()
        return self._steps / self.config.physics_rate_hz

    @property
    def load(self) -> Load:
        """What the flange holds."""
        self._connected()
        return self._load

    @property
    def saturation(self) -> Array:
        """(n,) share of the commands sent since the start or the last reset that each joint's limit clipped."""
        self._connected()
        return self._clipped / max(self._sent, 1)

    def connect(self) -> None:
        """Builds the world with the arm at its start, disarmed. Raises MissingDependency."""
        if self._world is None:
            self._world = ArmWorld(self.parameters, self.physics_dt)
            self._armed, self._load = False, NO_LOAD
            self.reset()

    def close(self) -> None:
        """Brakes on, and the world is gone; ``connect`` makes a new one."""
        if self._world is not None:
            self._world.close()
            self._world = None

    def reset(self, state: ArmState | None = None) -> None:
        """Starts the world anew with the arm at ``state``, or at rest at its start.

        Time and noise start over; the load and the command in force are gone. The arm stays armed or disarmed
        as it was. Raises InvalidInput for a state that is not finite, not this arm's or beyond its stops.
        """
        world = self._connected()
        position = self._start if state is None else np.array(state.position, dtype=float)
        velocity = np.zeros_like(position) if state is None else np.array(state.velocity, dtype=float)
        self._check_position(position)
        if velocity.shape != position.shape or not np.isfinite(velocity).all():
            raise InvalidInput(f"an arm of {self.parameters.joints} joints needs as many finite velocities")
        self._change_load(NO_LOAD)
        self._steps = self._sent = 0
        self._clipped = np.zeros(self.parameters.joints)
        self._noise = np.random.default_rng(self.config.seed)
        self._command: Array | None = None
        self._effort = np.zeros(self.parameters.joints)
        world.place(position, velocity)
        self._measure()

    def arm(self) -> None:
        """Lets commands reach the motors; the brakes hold until the first one."""
        self._connected()
        self._armed = True

    def disarm(self) -> None:
        """Brakes on at once; the command in force is forgotten."""
        self._connected()
        self._armed, self._command = False, None

    def state(self) -> ArmState:
        """The measured state: one new measurement per ``step``."""
        self._connected()
        return self._measured

    def true_state(self) -> ArmState:
        """State without noise."""
        position, velocity = self._connected().read()
        return ArmState(position, velocity, self._effort.copy(), self.time)

    def send(self, command: JointCommand) -> JointCommand:
        """Holds torques until the next command; returns them as clipped to the joints' limits.

        While disarmed they are checked and not kept, and zeros are returned.

        Raises:
            InputRejected: "type", "level", "nan" or "shape"; the last accepted command stays in force.
        """
        self._connected()
        check_level(command, self._spec.levels, self._spec.name)
        effort, n = finite(command.effort, "effort"), self.parameters.joints
        if effort.shape != (n,):
            raise InputRejected("shape", f"effort has shape {effort.shape}, expected {(n,)}")
        if not self._armed:
            return JointCommand(np.zeros(n), command.stamp)
        limit = self.parameters.torque_limit
        sent = np.clip(effort, -limit, limit)
        self._sent += 1
        self._clipped += sent != effort
        self._command = sent.copy()
        return JointCommand(sent, command.stamp)

    def step(self, dt: float) -> None:
        """Advances by dt seconds.

        Raises:
            InvalidInput: dt is not a positive whole number of physics steps.
        """
        world = self._connected()
        steps = dt * self.config.physics_rate_hz
        n = round(steps) if math.isfinite(steps) else 0
        if n < 1 or abs(steps - n) > 1e-6:
            raise InvalidInput(f"dt must be a whole number of steps of {self.physics_dt:g} s, got {dt:g} s")
        if self._command is None:
            world.place(world.read()[0], np.zeros(self.parameters.joints))
            self._effort = np.zeros(self.parameters.joints)
        else:
            effort = self._command.tolist()
            for _ in range(n):
                drag = friction_torque(tuple(world.read()[1].tolist()), self._friction)
                world.advance([a - b for a, b in zip(effort, drag, strict=True)])
            self._effort = self._command.copy()
        self._steps += n
        self._measure()

    def attach(self, load: Load) -> None:
        """Fixes a load to the flange in place of what it holds, moving as the flange does: no joint jumps."""
        self._connected()
        self._change_load(load)

    def drop(self) -> None:
        """Releases the load with the velocity it has; does nothing where there is none."""
        self.attach(NO_LOAD)

    def picture(self) -> Array:
        """(height, width, 3) of uint8: the arm as it stands."""
        return self._connected().picture()

    def _connected(self) -> ArmWorld:
        if self._world is None:
            raise NotConnected(f"simulated {self._spec.name} is not connected: call connect() first")
        return self._world

    def _change_load(self, load: Load) -> None:
        if load is not self._load:
            self._connected().set_load(load)
            self._load = load

    def _check_position(self, position: Array) -> None:
        low, high = self.parameters.position_lower, self.parameters.position_upper
        if position.shape != low.shape or not np.isfinite(position).all():
            raise InvalidInput(f"an arm of {len(low)} joints needs as many finite angles, got {position.tolist()}")
        outside = np.flatnonzero((position < low) | (position > high))
        if outside.size:
            name = self.parameters.joint_names[outside[0]]
            raise InvalidInput(f"joint '{name}' cannot be at {position[outside[0]]:g} rad: beyond its stops")

    def _check_friction(self) -> None:
        """Friction acts by its value at the start of a step: one that would turn the motion round is refused."""
        arm = self.parameters.with_friction_scaled(np.asarray(self.config.friction))
        slope = np.multiply(arm.friction.amplitude, arm.friction.steepness) / 4.0 + arm.friction.viscous
        inverse = np.linalg.inv(ArmDynamics(arm, self.physics_dt).mass_matrix(self._start))
        rates = slope * np.diagonal(inverse)  # 1/s, of each joint's speed at rest
        worst = int(np.argmax(rates))
        if rates[worst] > self.config.physics_rate_hz:
            raise InvalidInput(
                f"friction stops joint '{arm.joint_names[worst]}' within {1e3 / rates[worst]:.2g} ms: "
                f"physics_rate_hz must be at least {rates[worst]:.0f}, got {self.config.physics_rate_hz:g}"
            )

    def _measure(self) -> None:
        truth, sensors = self.true_state(), self.config.sensors
        noise = self._noise.standard_normal((3, self.parameters.joints))
        self._measured = ArmState(
            truth.position + sensors.position_std * noise[0],
            truth.velocity + sensors.velocity_std * noise[1],
            self._effort + sensors.effort_std * noise[2],
            truth.stamp,
        )

"""The protocols every room meets at: Vehicle, Dynamics, Estimator, Controller, and their specs.

They are structural: nothing needs to inherit from them. A vehicle is a simulator, a Crazyflie, a PX4 vehicle or a
fake in a test; the contract suite in ``tests/contract`` holds each of them to the same behaviour.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, runtime_checkable

from control_stack.errors import IncompatibleLevels
from control_stack.types import (
    ArmState,
    Array,
    Command,
    CommandLevel,
    JointCommand,
    JointReference,
    QuadrotorState,
    Reference,
)

StateT = TypeVar("StateT", covariant=True)
CommandT = TypeVar("CommandT")


@dataclass(frozen=True)
class VehicleSpec:
    """What is known of a vehicle before it is connected.

    Attributes:
        name: Vehicle file it was built from.
        levels: Command levels it accepts.
        rate_hz: Rate at which it expects commands.
    """

    name: str
    levels: tuple[CommandLevel, ...]
    rate_hz: float


@runtime_checkable
class Robot(Protocol[StateT, CommandT]):
    """Vehicle or arm. ``send`` returns what was actually sent (clipped): logs and learners use that."""

    @property
    def spec(self) -> VehicleSpec:
        """Known before ``connect``."""

    def connect(self) -> None:
        """Open the link. Raises a ControlStackError that names what was found and what is needed."""

    def state(self) -> StateT:
        """Latest state. Raises NotConnected before connect() and after close()."""

    def arm(self) -> None:
        """Let commands reach the motors; nothing moves until the first one. Robots connect disarmed."""

    def disarm(self) -> None:
        """Motors off (an arm: brakes on) whatever is sent, and the command in force forgotten."""

    def send(self, command: CommandT) -> CommandT:
        """Apply a command until the next one; returns it as limited by the robot.

        While disarmed it is checked, not kept, and what was sent is a command of zeros to the motors. Raises
        InputRejected for non-finite values ("nan"), wrong shapes ("shape"), a level that the spec does not list
        ("level") or a quaternion away from unit norm ("quaternion"); the last accepted command then stays in
        force.
        """

    def close(self) -> None:
        """Stop the motors and release the link. May be called twice."""


@runtime_checkable
class Vehicle(Robot[QuadrotorState, Command], Protocol):
    """Anything that flies."""

    def external_pose(self, position_w: Array, quat_xyzw: Array, stamp: float) -> None:
        """A pose measured from outside (motion capture), for the vehicle's estimator."""


@runtime_checkable
class Arm(Robot[ArmState, JointCommand], Protocol):
    """An arm under joint torques; its brakes hold it while it is disarmed and before its first command."""


@runtime_checkable
class SimulatedArm(Arm, Protocol):
    """An arm whose time is ours."""

    def true_state(self) -> ArmState:
        """State without noise."""

    def step(self, dt: float) -> None:
        """Advance by dt seconds, a whole number of physics steps."""


@dataclass(frozen=True)
class Battery:
    """voltage: V. share: of the charge that is left, 0 to 1. NaN where it is not told."""

    voltage: float = float("nan")
    share: float = float("nan")


@runtime_checkable
class TellsBattery(Protocol):
    """A vehicle that knows of its battery."""

    def battery(self) -> Battery:
        """As it was last told."""


@runtime_checkable
class SimulatedVehicle(Vehicle, Protocol):
    """A vehicle whose time is ours."""

    def true_state(self) -> QuadrotorState:
        """State without noise or delay."""

    def step(self, dt: float) -> None:
        """Advance by dt seconds, a whole number of physics steps."""


@dataclass(frozen=True)
class DynamicsSpec:
    """Layout of x, u and p of a discrete model x+ = f(x, u, p).

    Attributes:
        state, inputs, parameters: Names with units, in order, e.g. "position_w.x [m]".
        defaults: Values of the parameters when none are given.
        dt: Step, s.
    """

    state: tuple[str, ...]
    inputs: tuple[str, ...]
    parameters: tuple[str, ...]
    defaults: Array
    dt: float


@runtime_checkable
class Dynamics(Protocol):
    """A discrete-time model, batch-first. Changing p (wind, payload, context) never rebuilds a solver."""

    @property
    def spec(self) -> DynamicsSpec:
        """Layout and step of the model."""

    def step(self, x: Any, u: Any, p: Any = None) -> Any:
        """(..., nx), (..., nu), (..., np) -> (..., nx)."""

    def rollout(self, x0: Any, us: Any, p: Any = None) -> Any:
        """(..., nx), (..., T, nu) -> (..., T + 1, nx), x0 first."""

    def to_casadi(self) -> Any:
        """casadi.Function f(x, u, p) -> x+."""


@runtime_checkable
class Estimator(Protocol):
    """Turns what was measured and sent into model parameters p."""

    def reset(self) -> None:
        """Forget what was measured."""

    def update(self, t: float, state: QuadrotorState, sent: Command) -> tuple[Array, Array]:
        """Returns (p, standard deviation of p)."""


@dataclass(frozen=True)
class ControlResult:
    """How the last control call went: status "ok" or a reason, cost (nan if none), solve time in s, steps of the
    solver."""

    status: str = "ok"
    cost: float = float("nan")
    solve_time: float = 0.0
    plan: Array | None = None
    iterations: int = 0


@dataclass(frozen=True)
class ControllerSpec:
    """What a controller offers and needs.

    Attributes:
        name: As the user calls it.
        levels: Command levels it can emit, best first.
        rate_hz: Rate at which it is to be called.
        needs: Fields of the state that it reads beyond pose and twist: "rotor_speed", or nothing. They are brought
            to it where the vehicle measures them, and None elsewhere.
        warm_up: Calls in shadow before it may take over in flight.
    """

    name: str
    levels: tuple[CommandLevel, ...]
    rate_hz: float = 100.0
    needs: tuple[str, ...] = ()
    warm_up: int = 10


@runtime_checkable
class Controller(Protocol):
    """A law from state and reference to a command. Built and compiled before flight, never in the loop."""

    @property
    def spec(self) -> ControllerSpec:
        """What it offers and needs."""

    def reset(self) -> None:
        """Forget the past: called on arming and when the estimator jumps."""

    def __call__(self, t: float, state: QuadrotorState, reference: Reference) -> Command:
        """The command for this state; t (s) is the stamp of the state."""

    @property
    def last_result(self) -> ControlResult:
        """How the last call went."""


@runtime_checkable
class Trajectory(Protocol):
    """A reference over time, from 0 to ``duration`` (inf for one that never ends); held at its ends outside."""

    @property
    def duration(self) -> float:
        """s."""

    def __call__(self, t: float) -> Reference:
        """The reference t seconds after the start."""


@runtime_checkable
class JointTrajectory(Protocol):
    """A reference of joints over time, from 0 to ``duration``; held at its ends outside."""

    @property
    def duration(self) -> float:
        """s."""

    def __call__(self, t: float | Array) -> JointReference:
        """The reference t (...) seconds after the start, fields (..., n)."""


def choose_level(
    controller: str, offered: Sequence[CommandLevel], vehicle: str, accepted: Sequence[CommandLevel], note: str = ""
) -> CommandLevel:
    """The first level of the controller (best first) that the vehicle accepts; ``note`` says what to do if none.

    Raises:
        IncompatibleLevels: There is none.
    """
    for level in offered:
        if level in accepted:
            return level
    raise IncompatibleLevels(controller, [o.value for o in offered], vehicle, [a.value for a in accepted], note)

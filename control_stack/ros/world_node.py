"""What the nodes of simulated worlds share whose time waits for an answer to each state: the table's and the arm's.

Out: joint_states, phase, /diagnostics, /clock, and what the answering node is told at the start. In: actuators/command,
and for the log /diagnostics and what else a world ``keeps``.
"""

from __future__ import annotations

import struct
import time
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.clock import Clock, ClockType
from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.lifecycle import LifecycleState, TransitionCallbackReturn
from rosgraph_msgs.msg import Clock as ClockMessage
from sensor_msgs.msg import JointState
from std_msgs.msg import String

from control_stack.artefacts.log import FlightLog
from control_stack.boundary import Rejections, fresh
from control_stack.errors import InputRejected
from control_stack.ros import messages, qos
from control_stack.ros.exclusive import claim
from control_stack.ros.lifecycle import ManagedNode
from control_stack.ros.parameters import Declared
from control_stack.ros_layout import COMMAND_TOPIC

WAITING, RUNNING, OVER = "waiting", "running", "over"
_WATCH_PERIOD = 0.02  # s of wall time
_AGAIN = 1.0  # s of wall time: an answering node that was gone for less is waited for


class World(Protocol):
    """Holds its state until a command answers it, then goes on by a period.

    Attributes:
        period: s. taken: Periods so far. missed: Answers without a command.
    """

    period: float
    taken: int
    missed: int

    @property
    def t(self) -> float:
        """Simulated time, s."""

    @property
    def over(self) -> bool:
        """Whether all periods are taken."""

    def answer(self, command: Any, waited: float = 0.0) -> None:
        """Goes on with this command, or with None: there is none. waited: Wall time since the state was given, s."""


W = TypeVar("W", bound=World)


class WorldNode(ManagedNode, Generic[W]):
    """Owns a world and its time. Derive and write ``make``, ``tell``, ``state``, ``command`` and ``release``."""

    answers: ClassVar[str] = ""  # who sends commands
    keeps: ClassVar[tuple[tuple[str, Any], ...]] = ()  # further topics for the log, with their message classes

    def __init__(self, name: str, parameters: tuple[Declared, ...]):
        super().__init__(name, parameters)
        self._world: W | None = None
        self._log: FlightLog | None = None
        self._rejections = Rejections()
        self._inputs: list[Any] = []
        self._answered_at = self._opened_at = 0.0  # wall, steady
        self._command: Any = None
        self._open = False  # a state waits for its command

    def make(self) -> W:
        """The world that the parameters ask for; logs into ``open_log()``, which is opened when all else is checked."""
        raise NotImplementedError

    def tell(self, world: W) -> Any:
        """Publishes, latched, what the answering node has to know; gives the publisher."""
        raise NotImplementedError

    def state(self, world: W) -> JointState:
        """The present state, as it is published."""
        raise NotImplementedError

    def command(self, world: W, message: JointState, stamp: float) -> Any:
        """What the world takes. Raises InputRejected."""
        raise NotImplementedError

    def release(self) -> None:
        """Closes the simulator, where there is one by now."""
        raise NotImplementedError

    def open_log(self) -> FlightLog | None:
        """The log, if one is asked for."""
        path = self.parameter("log_path")
        self._log = FlightLog(Path(path)) if path else None
        return self._log

    @property
    def world(self) -> W:
        """The world of a configured node."""
        if self._world is None:
            raise RuntimeError("the node is not configured")
        return self._world

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Builds the world, at time 0."""
        return self.guarded(self._configure)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Opens the inputs; time starts when the answering node is there."""
        alive = SubscriptionEventCallbacks(liveliness=lambda e: self._on_alive(e.alive_count > 0))
        self._inputs = [
            self.create_subscription(
                JointState, COMMAND_TOPIC, self._on_command, qos.COMMAND_IN, event_callbacks=alive
            ),
            *(self._kept(topic, kind) for topic, kind in (("/diagnostics", DiagnosticArray), *self.keeps)),
        ]  # fmt: skip
        period = _WATCH_PERIOD if self._lockstep else self.world.period / self.parameter("real_time_factor")
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._timer = self.create_timer(period, self._watch if self._lockstep else self._real_time, clock=steady)
        return super().on_activate(state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stops time."""
        self.destroy_timer(self._timer)
        for subscription in self._inputs:
            self.destroy_subscription(subscription)
        self._open = False
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Forgets the world; a new one starts at time 0."""
        self.finish()
        for publisher in (self._states, self._told, self._phases, self._diagnostics, self._clock_out):
            self.destroy_publisher(publisher)
        self._claimed.close()
        return super().on_cleanup(state)

    def finish(self) -> None:
        """Closes the log and the simulator."""
        if self._log is not None:
            self._log.close()
        self.release()
        self._log = self._world = None

    def _configure(self) -> None:
        self._claimed = claim(self.get_namespace())
        try:
            self._world = self.make()
        except BaseException:
            self.finish()
            self._claimed.close()
            raise
        self._lockstep = self.parameter("lockstep")
        self._states = self.create_publisher(JointState, "joint_states", qos.PUBLISH)
        self._phases = self.create_publisher(String, "phase", qos.LATCHED)
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", qos.EVENTS)
        self._clock_out = self.create_publisher(ClockMessage, "/clock", qos.PUBLISH)
        self._told = self.tell(self._world)
        self._enter(WAITING)

    def _enter(self, phase: str) -> None:
        self._phase = phase
        self._phases.publish(String(data=phase))

    def _matched(self) -> bool:
        return self._states.get_subscription_count() > 0 and self.count_publishers(COMMAND_TOPIC) > 0

    def _give(self) -> None:
        """Publishes the state; from now on a command is waited for."""
        world = self.world
        stamp = messages.to_time(world.t)
        if self._clock_out.get_subscription_count():
            self._clock_out.publish(ClockMessage(clock=stamp))
        counts = {"steps": world.taken, "missed": world.missed, **self._rejections.counts}
        values = {"time_s": f"{world.t:.3f}", "phase": self._phase, **{key: str(n) for key, n in counts.items()}}
        self._diagnostics.publish(messages.status_message(self.get_fully_qualified_name(), values, stamp))
        self._open, self._opened_at = not world.over, time.monotonic()
        self._states.publish(self.state(world))
        if world.over:
            self._enter(OVER)

    def _answer(self, command: Any) -> None:
        self._open = False
        self.world.answer(command, time.monotonic() - self._opened_at)
        self._give()

    def _on_command(self, message: JointState) -> None:
        world = self.world
        if world.over:
            return
        try:
            stamp = messages.to_seconds(message.header.stamp)
            if not self._lockstep:
                fresh(stamp, world.t, self.parameter("command_timeout"))
            elif not self._open or abs(stamp - world.t) > 1e-6:
                raise InputRejected("stale", f"stamp {stamp:.3f}, waiting for {world.t:.3f}")
            command = self.command(world, message, stamp)
        except InputRejected as error:
            self._rejections.add("command", error)
            # A bad answer is an answer: the world goes on without a command.
            if error.reason != "stale" and self._lockstep and self._open:
                self._answer(None)
            return
        self._command, self._answered_at = command, time.monotonic()
        if self._lockstep:
            self._answer(command)

    def _on_alive(self, alive: bool) -> None:
        if not alive and self._phase == RUNNING:
            self.get_logger().warning(f"[{self.world.t:.2f} s] the {self.answers}'s liveliness is lost")

    def _watch(self) -> None:
        if self._phase == WAITING and self._matched():
            self._enter(RUNNING)
            self._give()
        elif self._open:
            gone = self.count_publishers(COMMAND_TOPIC) == 0
            if time.monotonic() - self._opened_at > (_AGAIN if gone else self.parameter("lockstep_timeout")):
                self._answer(None)

    def _real_time(self) -> None:
        if self._phase == WAITING and self._matched():
            self._enter(RUNNING)
            self._answered_at = time.monotonic()
            self._give()
        elif self._phase == RUNNING:
            limit = self.parameter("command_timeout") / self.parameter("real_time_factor")
            self._answer(None if time.monotonic() - self._answered_at > limit else self._command)

    def _kept(self, topic: str, kind: Any) -> Any:
        """A subscription for the log alone."""
        name = f"{kind.__module__.partition('.')[0]}/msg/{kind.__name__}"

        def keep(serialized: bytes) -> None:
            # Stored at the stamp of its header, after four bytes of encapsulation: the state's that it belongs to.
            seconds, nanoseconds = struct.unpack_from("<iI", serialized, 4)
            if self._log is not None:
                self._log.raw(topic, name, seconds + nanoseconds * 1e-9, bytes(serialized))

        return self.create_subscription(kind, topic, keep, qos.EVENTS, raw=True)

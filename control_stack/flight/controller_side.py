"""The side that owns the controllers: reference in, state in, command out; switches controllers in flight."""

from __future__ import annotations

import math
import time
import traceback
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from control_stack.boundary import check_command, check_level
from control_stack.errors import USER_ERRORS, FlightAborted, InputRejected, UnknownName
from control_stack.flight.setpoints import Setpoints
from control_stack.protocols import Controller
from control_stack.safety.barrier.filter import Answer, SafetyFilter
from control_stack.safety.events import Event, Severity
from control_stack.types import Command, QuadrotorState, Reference

_WINDOW = 6000  # calls over which solve times and periods are reported
_MOST_REFUSED = 3  # commands in a row: their good predecessor flies on meanwhile, within the supervisor's time-out
_MOST_MISSED = 10  # deadlines in a row
_QUIET = 0.25  # s without a change until the filter is told to have let go: it works by touches


class ControllerSide:
    """All controllers of a flight, built beforehand; one is active, one may run in shadow to take over.

    A controller asked for in flight is called beside the active one for its warm-up, its commands thrown
    away, and takes over when it has run that long. One that fails its warm-up, by a command that no vehicle
    would take or by an exception, never does. ``drain_events`` tells of either.

    An active controller that raises, or answers three times in a row with what cannot be flown, or misses ten
    deadlines in a row, is replaced by the next of ``fallback`` at once: in the same call where it raised. When there
    is none left, the supervisor beside the vehicle is the next of the chain: hold, land, and blind a level descent.

    A filter, if there is one, stands behind all of them: it sees what the controller saw, at the level that was chosen,
    and whichever controller flies.
    """

    def __init__(
        self,
        controllers: dict[str, Controller],
        active: str,
        setpoints: Setpoints,
        fallback: Sequence[str] = (),
        deadline: float = math.inf,
        guard: SafetyFilter | None = None,
    ):
        """``fallback``: names among ``controllers``, in order. ``deadline``: of one call, s. ``guard``: what changes
        unsafe commands. Raises UnknownName, and IncompatibleLevels for a controller that cannot be guarded."""
        for name in (active, *fallback):
            if name not in controllers:
                raise UnknownName("controller", name, controllers)
        self._guard = guard
        if guard is not None:
            for name, controller in controllers.items():
                guard.check_levels([getattr(controller, "level", controller.spec.levels[0])], f"{name}")
        self.filter_times: deque[float] = deque(maxlen=_WINDOW)
        self._guarding, self._guarded_at = Answer.UNCHANGED, -math.inf
        self.controllers, self.active, self.setpoints = controllers, active, setpoints
        self.fallback, self._deadline = tuple(fallback), deadline
        self.solve_times: deque[float] = deque(maxlen=_WINDOW)
        self.call_times: deque[float] = deque(maxlen=_WINDOW)
        self.last_reference: Reference | None = None
        self._shadow: str | None = None
        self._shadow_calls = 0
        self._failed: set[str] = set()
        self._refused = self._missed = 0  # in a row
        self._events: list[Event] = []
        self._reset()

    @property
    def shadow(self) -> str | None:
        """The controller that is warming up, if any."""
        return self._shadow

    def switch(self, name: str) -> None:
        """Asks for another controller; it takes over after its warm-up. The active one's name ends a warm-up.

        Raises:
            UnknownName: It was not built beforehand.
        """
        if name not in self.controllers:
            raise UnknownName("controller", name, self.controllers)
        if name == self._shadow:
            return
        self._failed.discard(name)
        self._shadow, self._shadow_calls = (None, 0) if name == self.active else (name, 0)
        if self._shadow:
            self.controllers[name].reset()

    def landed(self) -> None:
        """A flight is over: controllers and setpoints forget it."""
        self.setpoints.landed()
        self._reset()

    def filter_report(self) -> dict[str, float]:
        """How often the filter answered how, and what a call took, s; empty without a filter."""
        if self._guard is None:
            return {}
        out: dict[str, float] = {f"filter_{answer.value}": n for answer, n in self._guard.counts.items()}
        if self.filter_times:
            p50, p99 = np.percentile(self.filter_times, [50, 99]).tolist()
            out |= {"filter_time_p50_s": p50, "filter_time_p99_s": p99}
        return out

    def _reset(self) -> None:
        for name, controller in self.controllers.items():
            with _aborting(name):
                controller.reset()

    def compute(self, t: float, state: QuadrotorState, flying: bool) -> Command:
        """The active controller's command; ``flying`` is False while its commands are not in force.

        Raises:
            FlightAborted: The controller raised; the message has its name, the error, file and line.
            InputRejected: It answered with no command ("type") or at a level that it does not declare ("level").
                Where there is a fallback also for all else that no vehicle would take.
        """
        reference = self.setpoints.reference(t, state, flying)
        self.last_reference = reference
        try:
            command = self._call(t, state, reference)
        except FlightAborted as error:
            if not self._replace(t, str(error)):
                raise
            return self.compute(t, state, flying)
        if self._shadow is not None:
            self._warm_up(t, state, reference, self._shadow)
        try:
            check_level(command, self.controllers[self.active].spec.levels, f"controller '{self.active}'")
            if self.fallback or self._guard is not None:
                check_command(command)
        except InputRejected as error:
            if not self._refused:  # told once, counted every time
                self._tell(t, Severity.WARN, "command_refused", f"command dropped: {error}", self.active)
            self._refused += 1
            if self._refused >= _MOST_REFUSED and self._replace(t, f"controller '{self.active}' failed: {error}"):
                return self.compute(t, state, flying)
            raise
        self._refused = 0
        if self._missed >= _MOST_MISSED:
            self._replace(t, f"controller '{self.active}' is slower than {1e3 * self._deadline:g} ms")
        return command if self._guard is None else self._guarded(t, state, command, flying, self._guard)

    def _call(self, t: float, state: QuadrotorState, reference: Reference) -> Command:
        started = time.perf_counter()
        with _aborting(self.active):
            command = self.controllers[self.active](t, state, reference)
        self.call_times.append(started)
        self.solve_times.append(time.perf_counter() - started)
        self._missed = self._missed + 1 if self.solve_times[-1] > self._deadline else 0
        return command

    def _guarded(self, t: float, state: QuadrotorState, command: Command, flying: bool, guard: SafetyFilter) -> Command:
        """The command through the filter, while it is in force: before that others fly the vehicle."""
        if not flying:
            guard.reset()
            if self._guarding is not Answer.UNCHANGED:
                self._guarding = Answer.UNCHANGED
                self._tell(t, *_TOLD[self._guarding], self.active)
            return command
        started = time.perf_counter()
        command = guard(state, command)
        self.filter_times.append(time.perf_counter() - started)
        before, now = self._guarding, guard.answer
        if now is not Answer.UNCHANGED:
            self._guarded_at = t
        elif t - self._guarded_at < _QUIET:
            return command
        if now is not before:
            self._guarding = now
            self._tell(t, *_TOLD[now], self.active)
        return command

    def _replace(self, t: float, why: str) -> bool:
        """Lets the next of the fallback chain fly; False if there is none that has not failed."""
        self._failed.add(self.active)
        name = next((name for name in self.fallback if name not in self._failed), None)
        if name is None:
            return False
        with _aborting(name):
            self.controllers[name].reset()
        self._tell(t, Severity.ERROR, "controller_fallback", f"{why}: '{name}' flies on", name)
        self.active, self._refused, self._missed = name, 0, 0
        if self._shadow == name:
            self._shadow = None
        return True

    def drain_events(self) -> list[Event]:
        """Switches that were made or given up, and commands that were refused, since the last call."""
        events, self._events = self._events, []
        return events

    def _warm_up(self, t: float, state: QuadrotorState, reference: Reference, name: str) -> None:
        shadow = self.controllers[name]
        try:
            command = shadow(t, state, reference)
            check_level(command, shadow.spec.levels, f"controller '{name}'")
            check_command(command)
        except USER_ERRORS as error:  # the active one flies on
            reason = str(error) if isinstance(error, InputRejected) else f"{type(error).__name__}: {error}"
            message = f"controller '{name}' failed its warm-up, '{self.active}' flies on: {reason}"
            self._shadow = None
            self._tell(t, Severity.WARN, "controller_refused", message, name)
            return
        self._shadow_calls += 1
        if self._shadow_calls >= shadow.spec.warm_up:
            message = f"controller '{name}' takes over from '{self.active}'"
            self.active, self._shadow = name, None
            self._tell(t, Severity.OK, "controller_switched", message, name)

    def _tell(self, t: float, severity: Severity, name: str, message: str, controller: str) -> None:
        self._events.append(Event(t, severity, name, message, {"controller": controller}))


_TOLD = {
    Answer.UNCHANGED: (Severity.OK, "filter_quiet", "the filter passes the commands on"),
    Answer.CHANGED: (Severity.OK, "filter_changed", "the filter changes the commands"),
    Answer.FALLBACK: (Severity.WARN, "filter_fallback", "no command is safe: the filter brakes and holds"),
}


@contextmanager
def _aborting(name: str) -> Iterator[None]:
    """Turns whatever a controller raises into FlightAborted: the vehicle must come down."""
    try:
        yield
    except USER_ERRORS as error:
        raise FlightAborted(f"controller '{name}' failed: {_one_line(error)}") from error


def _one_line(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}{place}"

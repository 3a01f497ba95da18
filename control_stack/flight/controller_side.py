"""The side that owns the controllers: reference in, state in, command out; switches controllers in flight."""

from __future__ import annotations

import time
import traceback
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from control_stack.boundary import check_command, check_level
from control_stack.errors import USER_ERRORS, FlightAborted, InputRejected, UnknownName
from control_stack.flight.setpoints import Setpoints
from control_stack.protocols import Controller
from control_stack.safety.events import Event, Severity
from control_stack.types import Command, QuadrotorState, Reference

_WINDOW = 6000  # calls over which solve times and periods are reported


class ControllerSide:
    """All controllers of a flight, built beforehand; one is active, one may run in shadow to take over.

    A controller asked for in flight is called beside the active one for its warm-up, its commands thrown
    away, and takes over when it has run that long. One that fails its warm-up, by a command that no vehicle
    would take or by an exception, never does. ``drain_events`` tells of either.
    """

    def __init__(self, controllers: dict[str, Controller], active: str, setpoints: Setpoints):
        if active not in controllers:
            raise UnknownName("controller", active, controllers)
        self.controllers, self.active, self.setpoints = controllers, active, setpoints
        self.solve_times: deque[float] = deque(maxlen=_WINDOW)
        self.call_times: deque[float] = deque(maxlen=_WINDOW)
        self.last_reference: Reference | None = None
        self._shadow: str | None = None
        self._shadow_calls = 0
        self._refused = False
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
        self._shadow, self._shadow_calls = (None, 0) if name == self.active else (name, 0)
        if self._shadow:
            self.controllers[name].reset()

    def landed(self) -> None:
        """A flight is over: controllers and setpoints forget it."""
        self.setpoints.landed()
        self._reset()

    def _reset(self) -> None:
        for name, controller in self.controllers.items():
            with _aborting(name):
                controller.reset()

    def compute(self, t: float, state: QuadrotorState, flying: bool) -> Command:
        """The active controller's command; ``flying`` is False while its commands are not in force.

        Raises:
            FlightAborted: The controller raised; the message has its name, the error, file and line.
            InputRejected: It answered with no command ("type") or at a level that it does not declare ("level").
        """
        name, reference = self.active, self.setpoints.reference(t, state, flying)
        self.last_reference = reference
        started = time.perf_counter()
        with _aborting(name):
            command = self.controllers[name](t, state, reference)
        self.call_times.append(started)
        self.solve_times.append(time.perf_counter() - started)
        if self._shadow is not None:
            self._warm_up(t, state, reference, self._shadow)
        try:
            check_level(command, self.controllers[name].spec.levels, f"controller '{name}'")
        except InputRejected as error:
            if not self._refused:  # told once, counted every time
                self._tell(t, Severity.WARN, "command_refused", f"command dropped: {error}", name)
            self._refused = True
            raise
        self._refused = False
        return command

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

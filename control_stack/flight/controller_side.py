"""The side that owns the controllers: reference in, state in, command out; switches controllers in flight."""

from __future__ import annotations

import time
from collections import deque

import numpy as np

from control_stack.errors import UnknownName
from control_stack.flight.setpoints import Setpoints
from control_stack.protocols import Controller
from control_stack.types import Command, QuadrotorState, Reference

_WINDOW = 6000  # calls over which solve times and periods are reported


class ControllerSide:
    """All controllers of a flight, built beforehand; one is active, one may run in shadow to take over.

    A controller asked for in flight is called beside the active one for its warm-up, its commands thrown away, and
    takes over when it has run that long; a controller that fails its warm-up with a non-finite command never does.
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
        for controller in controllers.values():
            controller.reset()

    @property
    def shadow(self) -> str | None:
        """The controller that is warming up, if any."""
        return self._shadow

    def switch(self, name: str) -> None:
        """Asks for another controller; it takes over after its warm-up. Raises UnknownName."""
        if name not in self.controllers:
            raise UnknownName("controller", name, self.controllers)
        self._shadow, self._shadow_calls = (None, 0) if name == self.active else (name, 0)
        if self._shadow:
            self.controllers[name].reset()

    def compute(self, t: float, state: QuadrotorState, flying: bool) -> Command:
        """The active controller's command for this state; ``flying`` False while its commands are not in force."""
        reference = self.setpoints.reference(t, state, flying)
        self.last_reference = reference
        started = time.perf_counter()
        command = self.controllers[self.active](t, state, reference)
        self.call_times.append(started)
        self.solve_times.append(time.perf_counter() - started)
        if self._shadow is not None:
            self._warm_up(t, state, reference)
        return command

    def _warm_up(self, t: float, state: QuadrotorState, reference: Reference) -> None:
        name = self._shadow
        if name is None:
            return
        shadow = self.controllers[name]
        rehearsal = shadow(t, state, reference)
        if not _is_finite(rehearsal):
            self._shadow = None
            return
        self._shadow_calls += 1
        if self._shadow_calls >= shadow.spec.warm_up:
            self.active, self._shadow = name, None


def _is_finite(command: Command) -> bool:
    values = (v for v in vars(command).values() if isinstance(v, (float, np.ndarray)))
    return all(bool(np.isfinite(v).all()) for v in values)

"""Writes what a flight did to its MCAP log, which alone gives summary and picture."""

from __future__ import annotations

from control_stack.artefacts.log import FlightLog
from control_stack.flight.vehicle_side import VehicleSide
from control_stack.safety.events import Event
from control_stack.types import QuadrotorState, Reference


class Recorder:
    """Topics: odom (as measured), ground_truth (of a simulator), joint_states, actuators/command (as sent),
    reference, /diagnostics (events)."""

    def __init__(self, log: FlightLog | None):
        self._log = log

    def period(self, t: float, side: VehicleSide, truth: QuadrotorState | None = None) -> None:
        """State observed at t, what it truly was, and the command that was sent for it."""
        if self._log is None:
            return
        self._log.state("odom", t, side.state)
        if truth is not None:
            self._log.state("ground_truth", t, truth)
        if side.state.rotor_speed is not None:
            self._log.rotor_speeds("joint_states", t, side.state.rotor_speed)
        if side.sent is not None:
            self._log.command("actuators/command", t, side.sent)

    def reference(self, t: float, reference: Reference) -> None:
        """What the controller was asked for at t."""
        if self._log is not None:
            self._log.reference("reference", t, reference)

    def raw(self, topic: str, msgtype: str, t: float, cdr: bytes) -> None:
        """A message that arrived serialised and is kept as it came."""
        if self._log is not None:
            self._log.raw(topic, msgtype, t, cdr)

    def event(self, event: Event) -> None:
        """An event of either side, at its own time."""
        if self._log is not None:
            self._log.event(event.t, int(event.severity), event.name, event.message, event.values)

    def close(self) -> None:
        """Completes the log."""
        if self._log is not None:
            self._log.close()

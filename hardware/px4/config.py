"""Settings of the PX4 driver."""

from __future__ import annotations

from dataclasses import dataclass

from control_stack.errors import InvalidInput


@dataclass(frozen=True)
class PX4Config:
    """How to talk to an autopilot.

    Attributes:
        system, component: MAVLink ids of this host; 191 is MAV_COMP_ID_ONBOARD_COMPUTER.
        target_system: The vehicle's system id; None takes the first PX4 heard.
        rate_hz: Of the estimate asked for, and at which commands are expected.
        repeat_hz: At which the last setpoint is repeated while no newer one comes; PX4 needs more than 2 Hz.
        repeat_for: s for which a command is repeated. After that its sender is taken for dead, the stream ends and
            PX4's offboard-loss failsafe acts (COM_OF_LOSS_T later).
        stream_before: s of setpoints before offboard is asked for; PX4 wants more than 1 s.
        silence_timeout: s without any message of the autopilot from which the link counts as lost.
        connect_timeout: s to wait for the first heartbeat.
        reply_timeout: s to wait for an answer, of which there are ``tries``.
        signing_key: Pass phrase of MAVLink 2 signing; with it unsigned messages are dropped.
    """

    system: int = 245
    component: int = 191
    target_system: int | None = None
    rate_hz: float = 100.0
    repeat_hz: float = 20.0
    repeat_for: float = 2.0
    stream_before: float = 1.2
    silence_timeout: float = 3.0
    connect_timeout: float = 5.0
    reply_timeout: float = 0.5
    tries: int = 4
    signing_key: str | None = None

    def __post_init__(self) -> None:
        for name in ("system", "component"):
            if not 1 <= getattr(self, name) <= 255:
                raise InvalidInput(f"{name} must be from 1 to 255, got {getattr(self, name)}")
        if self.repeat_hz <= 2.0:
            raise InvalidInput(f"repeat_hz must be above 2 Hz, below which PX4 leaves offboard; got {self.repeat_hz:g}")

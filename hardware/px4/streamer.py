"""Keeps setpoints flowing, and reads the link meanwhile: in a thread of its own, or pumped by a test's clock."""

from __future__ import annotations

import threading

from control_stack.types import Command
from hardware.px4.clock import Clock
from hardware.px4.config import PX4Config
from hardware.px4.link import Link
from hardware.px4.setpoints import SetpointEncoder

_TICK = 0.005  # s: the longest the thread waits for bytes


class Streamer:
    """Sends a command at once and then repeats it until there is another, or its time is over.

    Attributes:
        sent: Setpoints sent, repeats included.
        expired: Whether the stream ended because no newer command came.
    """

    def __init__(self, link: Link, encoder: SetpointEncoder, config: PX4Config, clock: Clock):
        self._link, self._encoder, self._config, self._clock = link, encoder, config, clock
        self._lock = threading.Lock()
        self._command: Command | None = None
        self._forever = False
        self._given_at = self._sent_at = -float("inf")
        self._running = threading.Event()
        self._thread: threading.Thread | None = None
        self.sent = 0
        self.expired = False

    def start(self) -> None:
        """From now on the link is read; nothing is sent before ``send``."""
        self._link.idle = self.repeat
        if self._clock.threaded:
            self._running.set()
            self._thread = threading.Thread(target=self._run, name="px4 link", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Ends the thread."""
        self._running.clear()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        self.clear()

    def send(self, command: Command, forever: bool = False) -> None:
        """The command in force from now on; ``forever``: repeated without end, for one that flies nowhere."""
        with self._lock:
            self._command, self._forever, self.expired = command, forever, False
            self._given_at = self._clock.monotonic()
            self._transmit()

    def clear(self) -> None:
        """No setpoints any more."""
        with self._lock:
            self._command = None

    def pump(self) -> None:
        """Without a thread: one turn of what it would do."""
        if self._thread is None and not self._clock.threaded:
            self._link.poll()

    def repeat(self) -> None:
        """Sends the command again when it is due."""
        with self._lock:
            now = self._clock.monotonic()
            if self._command is None or now - self._sent_at < 1.0 / self._config.repeat_hz:
                return
            if not self._forever and now - self._given_at > self._config.repeat_for:
                self._command, self.expired = None, True
                return
            self._transmit()

    def _transmit(self) -> None:
        if self._command is not None:
            self._link.send(self._encoder.encode(self._command, self._link.boot_ms()))
            self._sent_at = self._clock.monotonic()
            self.sent += 1

    def _run(self) -> None:
        while self._running.is_set():
            self._link.poll(_TICK)

"""MAVLink frames out of bytes, with every drop counted by its reason.

The library's own parser keeps what it could not use; this one holds at most one frame, so memory stays flat
whatever arrives, and a datagram never waits for the rest of a broken one before it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

MAGIC_V1, MAGIC_V2 = 0xFE, 0xFD  # MAVLink serialization guide
_SIGNED = 0x01  # MAVLINK_IFLAG_SIGNED
_SIGNATURE = 13


class Deframer:
    """Cuts a byte stream into whole MAVLink frames; ``datagrams``: frames never span two ``feed`` calls."""

    def __init__(self, datagrams: bool):
        self._datagrams = datagrams
        self._rest = b""
        self.noise = 0  # bytes that belong to no frame

    def feed(self, data: bytes) -> Iterator[bytearray]:
        """The frames that end within this data, checksums not yet looked at."""
        data, self._rest = self._rest + data, b""
        at = 0
        while at < len(data):
            if data[at] not in (MAGIC_V1, MAGIC_V2):
                self.noise += 1
                at += 1
                continue
            end = at + _length(data, at)
            if end <= len(data):
                yield bytearray(data[at:end])
                at = end
            elif self._datagrams:  # cut short: what looked like a frame may hide a whole one
                self.noise += 1
                at += 1
            else:
                self._rest = data[at:]
                return


def _length(data: bytes, at: int) -> int:
    """Of the frame that begins here, bytes; what is known of it so far where its head is not whole."""
    if len(data) < at + 3:
        return 12
    if data[at] == MAGIC_V1:
        return 8 + data[at + 1]
    return 12 + data[at + 1] + (_SIGNATURE if data[at + 2] & _SIGNED else 0)


class Decoder:
    """Frames to messages by ``decode`` (the library's), which raises ``error`` for what it refuses.

    Attributes:
        drops: Counts by reason: crc, signature, malformed, unknown, noise.
    """

    def __init__(self, decode: Callable[[bytearray], Any], error: type[Exception], datagrams: bool):
        self._decode, self._error = decode, error
        self._deframer = Deframer(datagrams)
        self.drops: Counter[str] = Counter()

    def feed(self, data: bytes) -> Iterator[Any]:
        """The messages in this data that are whole, known and, where signing is on, signed."""
        before = self._deframer.noise
        for frame in self._deframer.feed(data):
            message = self._message(frame)
            if message is not None:
                yield message
        if self._deframer.noise > before:
            self.drops["noise"] += 1

    def _message(self, frame: bytearray) -> Any:
        if frame[0] == MAGIC_V2 and frame[2] & ~_SIGNED:  # a receiver must drop flags it does not know
            self.drops["malformed"] += 1
            return None
        try:
            message = self._decode(frame)
        except self._error as reason:
            text = str(reason)
            self.drops["crc" if "CRC" in text else "signature" if "signature" in text else "malformed"] += 1
            return None
        except (UnicodeDecodeError, ValueError):  # a text field that is no text
            self.drops["malformed"] += 1
            return None
        if message.get_type().startswith("UNKNOWN") or message.get_msgId() < 0:
            self.drops["unknown"] += 1
            return None
        return message

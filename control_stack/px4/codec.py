"""MAVLink 2 in and out of bytes: one sender's numbering and signing, and what arrives, filtered and counted."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import datetime, timezone
from typing import Any

from control_stack.px4.framing import Decoder

_SIGNING_EPOCH = datetime(2015, 1, 1, tzinfo=timezone.utc)  # MAVLink message signing: timestamps count from here


class Codec:
    """Encodes as one system, decodes what others sent.

    Attributes:
        mavlink: The dialect module, handed in: message classes and constants.
        decoder: Counts of messages and drops.
    """

    def __init__(self, mavlink: Any, system: int, component: int, datagrams: bool, signing_key: str | None = None):
        """signing_key: pass phrase of MAVLink 2 signing; with it unsigned messages are dropped."""
        self.mavlink = mavlink
        self._link = self.mavlink.MAVLink(None, srcSystem=system, srcComponent=component)
        if signing_key is not None:
            signing = self._link.signing
            signing.secret_key = hashlib.sha256(signing_key.encode()).digest()  # as MAVProxy does
            signing.sign_outgoing = True
            signing.timestamp = int((datetime.now(timezone.utc) - _SIGNING_EPOCH).total_seconds() * 1e5)  # 10 us
        self.decoder = Decoder(self._decode, self.mavlink.MAVError, datagrams)

    def encode(self, message: Any) -> bytes:
        """Bytes of a message, with the next sequence number."""
        data = bytes(message.pack(self._link))
        self._link.seq = (self._link.seq + 1) % 256
        return data

    def decode(self, data: bytes) -> Iterator[Any]:
        """Whole messages in the data; the rest is counted in ``decoder.drops``."""
        return self.decoder.feed(data)

    def _decode(self, frame: bytearray) -> Any:
        """The library's, which remembers the time of a new signed stream before it has checked the signature.

        A forged one would lock the true sender out and stay in memory, so it is forgotten again.
        """
        streams = self._link.signing.stream_timestamps
        known = len(streams)
        try:
            return self._link.decode(frame)
        except self.mavlink.MAVError:
            if len(streams) > known:
                streams.popitem()
            raise

"""One vehicle's UDP port, and the one client that it is connected to.

A radio or Wi-Fi vehicle has one link at a time, and one set of log blocks: on the real firmware a second client that
connects takes the states away from the first, without a word to either. Here the second is not answered while the
first is alive, as if it were out of range. Alive is who was heard within a second and whose port is still open.
"""

from __future__ import annotations

import errno
import socket
import time
from contextlib import suppress

from control_stack.errors import InvalidInput

Address = tuple[str, int]
_ALIVE = 1.0  # s since a client's last packet; clients of cflib ping ten times a second
_NULL = b"\xff"  # the empty packet, which a vehicle may send at any time
_RECVERR = 11  # IP_RECVERR of Linux (ip(7)): tells which client's port is closed; socket has no name for it before 3.14
_SHORT = errno.EAGAIN, errno.EWOULDBLOCK


class Door:
    """The socket. ``peer``: the client that has the vehicle; what the vehicle sends by itself goes there."""

    def __init__(self, host: str, port: int):
        """Binds; port 0 takes a free one. Raises InvalidInput for a port that cannot be had."""
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            self.socket.bind((host, port))
        except (OSError, OverflowError) as error:
            self.socket.close()
            reason = getattr(error, "strerror", None) or str(error)
            raise InvalidInput(f"cannot listen on udp {host}:{port}: {reason}") from None
        self.socket.setblocking(False)
        with suppress(OSError):  # elsewhere the second after the last packet decides alone
            self.socket.setsockopt(socket.SOL_IP, _RECVERR, 1)
        self.peer: Address | None = None
        self._heard = 0.0

    def receive(self) -> tuple[bytes, Address] | None:
        """A datagram and its sender; None when nothing is left."""
        while True:
            try:
                return self.socket.recvfrom(2048)
            except OSError as error:
                if error.errno in _SHORT or self.socket.fileno() < 0:
                    self._forget_gone()
                    return None
                self._forget_gone()  # the error of an earlier send: a client's port is gone

    def admit(self, sender: Address) -> bool:
        """Whether a client that speaks may: it has the vehicle, or nobody alive does, and then it has it now."""
        if self.peer not in (None, sender) and time.monotonic() - self._heard < _ALIVE:
            self.send(_NULL, self.peer)  # where nobody listens any more, this machine says so at once
            self._forget_gone()
            if self.peer is not None:
                return False
        self.peer, self._heard = sender, time.monotonic()
        return True

    def send(self, datagram: bytes, to: Address | None) -> bool:
        """Sends; False for a full buffer or no such client: a lost packet, as on the air."""
        if to is None:
            return True
        for _ in range(2):  # the first may be told the error of an earlier one, to somebody else
            try:
                self.socket.sendto(datagram, to)
            except OSError:
                self._forget_gone()
            else:
                return True
        return False

    def close(self) -> None:
        """Releases the port."""
        self.socket.close()

    def _forget_gone(self) -> None:
        flag = getattr(socket, "MSG_ERRQUEUE", None)
        while flag is not None:
            try:
                _, _, _, address = self.socket.recvmsg(1, 512, flag)
            except OSError:
                return
            if address == self.peer:
                self.peer = None

"""Bytes to and from an autopilot: UDP, TCP or a serial port, named by a URI as pymavlink writes them."""

from __future__ import annotations

import errno
import os
import select
import socket
import time
from typing import Any, Protocol

from control_stack.errors import InvalidInput, LinkError, MissingDependency

_ADVICE = {
    errno.EADDRINUSE: ": another program listens there already (a second control-stack, QGroundControl?): end it, or "
    "take another port",
    errno.ECONNREFUSED: ": nothing listens there: start what should (mavlink-router, a simulation), or check the port; "
    "the emulator is at udpin:127.0.0.1:14540",
    errno.ENOENT: ": no such device: is it plugged in, and its name right (ls /dev/tty*)?",
    errno.EACCES: ": this user may not use it: join the group that owns it (dialout), and log in anew",
    errno.EBUSY: ": another program has it",
}
FORMS = "udpin:HOST:PORT, udpout:HOST:PORT, tcp:HOST:PORT or serial:DEVICE[:BAUD]"


class Transport(Protocol):
    """Where bytes come from and go to. ``datagrams``: messages never span two receives."""

    datagrams: bool

    def receive(self, timeout: float) -> bytes | None:
        """What has arrived, waiting at most timeout s for it; None if nothing has."""

    def accept(self) -> None:
        """The sender of the latest bytes is who ``send`` talks to from now on."""

    def send(self, data: bytes) -> None:
        """Sends, or drops what cannot be sent now."""

    def close(self) -> None:
        """Releases port or device."""


def open_transport(uri: str) -> Transport:
    """Opens what a URI names.

    Raises:
        InvalidInput: Not one of the forms.
        LinkError: The port or device cannot be had.
        MissingDependency: A serial device without pyserial.
    """
    kind, _, rest = uri.partition(":")
    try:
        if kind in ("udpin", "udpout", "tcp"):
            host, port = _address(uri, rest)
            return _Tcp(host, port) if kind == "tcp" else _Udp(host, port, listen=kind == "udpin")
        if kind == "serial":
            return _Serial(uri, rest)
    except OSError as error:
        raise LinkError(f"{uri}: {error.strerror or error}{_ADVICE.get(error.errno or 0, '')}") from None
    raise InvalidInput(f"'{uri}' is no MAVLink address; expected {FORMS}")


def _address(uri: str, rest: str) -> tuple[str, int]:
    host, _, port = rest.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise InvalidInput(f"'{uri}' needs a host and a port from 1 to 65535, as in {FORMS}")
    return host, int(port)


class _Udp:
    datagrams = True

    def __init__(self, host: str, port: int, listen: bool):
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._sender: Any = None
        self._peer: Any = None if listen else (socket.gethostbyname(host), port)
        self._listen = listen
        try:
            if listen:
                self._socket.bind((host, port))
        except OSError:
            self._socket.close()
            raise
        self._socket.setblocking(False)

    def receive(self, timeout: float) -> bytes | None:
        if timeout > 0.0:
            select.select([self._socket], [], [], timeout)
        try:
            data, self._sender = self._socket.recvfrom(2048)
        except OSError:  # nothing there, or an ICMP error of an earlier send
            return None
        return data

    def accept(self) -> None:
        if self._listen:
            self._peer = self._sender

    def send(self, data: bytes) -> None:
        if self._peer is None:
            return
        try:
            self._socket.sendto(data, self._peer)
        except OSError:  # a full buffer or a peer that is gone: as lost on the air
            return

    def close(self) -> None:
        self._socket.close()


class _Tcp:
    datagrams = False

    def __init__(self, host: str, port: int):
        self._socket = socket.create_connection((host, port), timeout=3.0)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.setblocking(False)

        self._ended = False

    def receive(self, timeout: float) -> bytes | None:
        if self._ended:  # an ended stream is always readable: without this the reader would spin
            time.sleep(timeout)
            return None
        if timeout > 0.0:
            select.select([self._socket], [], [], timeout)
        try:
            data = self._socket.recv(4096)
        except BlockingIOError:
            return None
        except OSError:
            data = b""
        self._ended = not data
        return data or None

    def accept(self) -> None:
        """There is one peer."""

    def send(self, data: bytes) -> None:
        try:
            self._socket.sendall(data)
        except OSError:  # a full buffer or a peer that is gone: as lost on the air
            return

    def close(self) -> None:
        self._socket.close()


class _Serial:
    datagrams = False

    def __init__(self, uri: str, rest: str):
        try:
            import serial
        except ImportError:
            raise MissingDependency("serial", "hardware", "package pyserial") from None
        device, colon, baud = rest.rpartition(":")
        if not colon:
            device, baud = rest, "57600"
        if not device or not baud.isdecimal():
            raise InvalidInput(f"'{uri}' needs a device and a rate, as in serial:/dev/ttyACM0:57600")
        try:
            self._port = serial.Serial(device, int(baud), timeout=0.0, write_timeout=0.0)
        except serial.SerialException as error:  # its text says everything three times
            number = error.errno or 0
            told = os.strerror(number) if number else str(error)
            raise LinkError(f"{uri}: {told}{_ADVICE.get(number, '')}") from None
        except ValueError as error:  # a rate that it does not have
            raise LinkError(f"{uri}: {error}") from None
        self._ended = False

    def receive(self, timeout: float) -> bytes | None:
        if self._ended:
            time.sleep(timeout)
            return None
        try:
            if timeout > 0.0:
                select.select([self._port], [], [], timeout)
            return self._port.read(4096) or None
        except OSError:  # pulled out
            self._ended = True
            return None

    def accept(self) -> None:
        """There is one peer."""

    def send(self, data: bytes) -> None:
        try:
            self._port.write(data)
        except OSError:  # a full buffer, or pulled out
            return

    def close(self) -> None:
        self._port.close()

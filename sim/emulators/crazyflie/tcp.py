"""Emulated Crazyflies on TCP as well, for cflib's tcp:// link: CRTP in CPX frames (Bitcraze, "CPX").

A frame is its length in two bytes, a routing byte, a function byte and data. Each connection becomes one more client
of the vehicle's UDP port, so that there is one server only; what is no CRTP, or no frame, is dropped.
"""

from __future__ import annotations

import select
import socket
import threading
from collections.abc import Sequence
from contextlib import suppress

from control_stack.errors import InvalidInput

_CRTP = 3  # CPXFunction
_TO_HOST = 1 << 3 | 3  # from the STM32 to the host
_LAST = 0x40
_LONGEST = 1024  # bytes of a frame that are believed; CRTP needs 33
_TICK = 0.2  # s between looks at whether it is to end


class TcpRelay:
    """Listens on TCP ports of the same numbers as UDP ports. A context manager; its thread ends with it."""

    def __init__(self, ports: Sequence[int], host: str = "127.0.0.1"):
        """Raises InvalidInput for a port that cannot be had."""
        self._host = host
        self._doors: dict[socket.socket, int] = {}
        self._pairs: dict[socket.socket, socket.socket] = {}  # both ways: stream to datagrams and back
        self._rest: dict[socket.socket, bytes] = {}  # of streams: what is not a whole frame yet
        self._end = threading.Event()
        try:
            for port in ports:
                door = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
                self._doors[door] = port
                door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                door.bind((host, port))
                door.listen()
        except OSError as error:
            self._close()
            raise InvalidInput(f"cannot listen on tcp {host}:{port}: {error.strerror or error}") from None
        self._thread = threading.Thread(target=self._run, name="crazyflie tcp", daemon=True)

    def __enter__(self) -> TcpRelay:
        self._thread.start()
        return self

    def __exit__(self, *details: object) -> None:
        self._end.set()
        self._thread.join()
        self._close()

    def _run(self) -> None:
        while not self._end.is_set():
            ready, _, _ = select.select([*self._doors, *self._pairs], [], [], _TICK)
            for s in ready:
                if s in self._doors:
                    self._open(s)
                elif s in self._rest:
                    self._from_stream(s)
                elif s in self._pairs:
                    self._from_vehicle(s)

    def _open(self, door: socket.socket) -> None:
        stream, _ = door.accept()
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        stream.settimeout(_TICK)
        wire = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        wire.connect((self._host, self._doors[door]))
        self._pairs[stream], self._pairs[wire] = wire, stream
        self._rest[stream] = b""

    def _from_stream(self, stream: socket.socket) -> None:
        try:
            data = stream.recv(4096)
        except OSError:
            data = b""
        if not data:
            self._drop(stream)
            return
        data = self._rest[stream] + data
        while len(data) >= 2:
            size = int.from_bytes(data[:2], "little")
            if not 2 <= size <= _LONGEST:  # nobody who speaks CPX: there is no way back into step
                self._drop(stream)
                return
            if len(data) < 2 + size:
                break
            if data[3] == _CRTP and size > 2:  # version 0
                with suppress(OSError):  # the vehicle's port is gone: a lost packet
                    self._pairs[stream].send(data[4 : 2 + size])
            data = data[2 + size :]
        self._rest[stream] = data

    def _from_vehicle(self, wire: socket.socket) -> None:
        try:
            datagram = wire.recv(2048)
        except OSError:  # the vehicle's port is gone
            return
        frame = (len(datagram) + 2).to_bytes(2, "little") + bytes((_TO_HOST | _LAST, _CRTP)) + datagram
        try:
            self._pairs[wire].sendall(frame)
        except OSError:  # gone, or it does not read: half a frame may be out, so the stream is of no more use
            self._drop(self._pairs[wire])

    def _drop(self, stream: socket.socket) -> None:
        wire = self._pairs.pop(stream)
        del self._pairs[wire], self._rest[stream]
        stream.close()
        wire.close()

    def _close(self) -> None:
        for s in (*self._doors, *self._pairs):
            s.close()

"""Log blocks: variables that the emulated Crazyflie sends by itself at a fixed period (firmware, log.c)."""

from __future__ import annotations

import errno
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field

from control_stack.crazyflie.wire import Packet, Port
from sim.emulators.crazyflie.tables import LOG_TYPES, Entry, Table, pack, size_of

_TABLE, _SETTINGS, _DATA = range(3)
_CREATE, _APPEND, _DELETE, _START, _STOP, _RESET, _CREATE_V2, _APPEND_V2 = range(8)
MAX_BLOCKS, MAX_VARIABLES, MAX_BYTES = 16, 128, 26
_KINDS = {code: kind for kind, code in LOG_TYPES.items()}


@dataclass
class _Block:
    variables: list[tuple[str, str]] = field(default_factory=list)  # name, fetched as
    period: int = 0  # ms; 0 while stopped
    due: int = 0  # ms

    def size(self) -> int:
        return sum(size_of(kind) for _, kind in self.variables)


class Logging:
    """The log port: blocks are made on request and sent when due.

    Args:
        variables: name and type of every variable.
        read: The values now, by name.
    """

    def __init__(
        self,
        variables: Collection[tuple[str, str]],
        read: Callable[[Collection[str]], dict[str, float]],
        without: Collection[str] = (),
    ):
        entries = [Entry(name, kind) for name, kind in variables if name not in without]
        self.table = Table(entries, LOG_TYPES, bytes((MAX_BLOCKS, MAX_VARIABLES)))
        self._read = read
        self._blocks: dict[int, _Block] = {}

    def handle(self, packet: Packet, now: int) -> Iterator[Packet]:
        """Answers a packet of the log port; ``now`` in ms."""
        data = packet.data
        if packet.channel == _TABLE:
            answer = self.table.answer(data)
        elif packet.channel == _SETTINGS and data:
            block = data[1] if len(data) > 1 else 0
            answer = bytes((data[0], block, self._settings(data[0], block, data[2:], now)))
        else:
            answer = None
        if answer is not None:
            yield Packet(Port.LOG, packet.channel, answer)

    def due(self, now: int) -> Iterator[Packet]:
        """The blocks to be sent at ``now``, ms, in the order of their numbers."""
        for number in sorted(self._blocks):
            block = self._blocks[number]
            if not block.period or now < block.due:
                continue
            block.due += block.period * ((now - block.due) // block.period + 1)
            values = self._read([name for name, _ in block.variables])
            payload = b"".join(pack(kind, values[name]) for name, kind in block.variables)
            yield Packet(Port.LOG, _DATA, bytes((number,)) + (now & 0xFFFFFF).to_bytes(3, "little") + payload)

    def _settings(self, command: int, number: int, rest: bytes, now: int) -> int:
        """Carries out a command; returns the firmware's error number."""
        block = self._blocks.get(number)
        if command == _RESET:
            self._blocks.clear()
            return 0
        if command in (_CREATE, _CREATE_V2):
            if block is not None:
                return errno.EEXIST
            if len(self._blocks) >= MAX_BLOCKS:
                return errno.ENOMEM
            made = _Block()
            error = self._append(made, rest, command == _CREATE_V2)
            if not error:
                self._blocks[number] = made
            return error
        if block is None:
            return errno.ENOENT if command in (_APPEND, _APPEND_V2, _DELETE, _START, _STOP) else errno.ENOEXEC
        if command in (_APPEND, _APPEND_V2):
            return self._append(block, rest, command == _APPEND_V2)
        if command == _DELETE:
            del self._blocks[number]
        elif command == _START and rest:
            block.period = 10 * rest[0]
            block.due = now + block.period
        elif command == _STOP:
            block.period = 0
        else:
            return errno.ENOEXEC
        return 0

    def _append(self, block: _Block, rest: bytes, wide: bool) -> int:
        step = 3 if wide else 2
        added = []
        # What is left of a packet beyond whole entries is ignored, as in the firmware: cflib leaves a byte there
        # when a block goes on in the next packet.
        for at in range(0, len(rest) - step + 1, step):
            number, kind = int.from_bytes(rest[at + 1 : at + step], "little"), _KINDS.get(rest[at] & 0xF)
            if number >= len(self.table.entries) or kind is None:
                return errno.ENOENT
            added.append((self.table.entries[number].name, kind))
        used = sum(len(b.variables) for b in self._blocks.values())
        if used + len(added) > MAX_VARIABLES:
            return errno.ENOMEM
        if block.size() + sum(size_of(kind) for _, kind in added) > MAX_BYTES:
            return errno.E2BIG
        block.variables += added
        return 0

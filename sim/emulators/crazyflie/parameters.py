"""Parameters of the emulated Crazyflie: read, written, found by name, told by default (firmware, param_logic.c)."""

from __future__ import annotations

import errno
import math
import struct
from collections.abc import Collection, Iterator, Mapping

from control_stack.crazyflie.wire import Packet, Port
from sim.emulators.crazyflie.tables import PARAM_TYPES, READ_ONLY, Entry, Table, pack, size_of, unpack

_TABLE, _READ, _WRITE, _MISC = range(4)
_SET_BY_NAME, _TYPE, _STORE, _STATE, _CLEAR, _DEFAULT, _TYPE_V2, _DEFAULT_V2 = 0, 2, 3, 4, 5, 6, 7, 8

# name, type, value at start, read only
_DEFINED: tuple[tuple[str, str, float, bool], ...] = (
    ("flightmode.althold", "uint8", 0, False),
    ("flightmode.poshold", "uint8", 0, False),
    ("flightmode.stabModeRoll", "uint8", 1, False),
    ("flightmode.stabModePitch", "uint8", 1, False),
    ("flightmode.stabModeYaw", "uint8", 0, False),
    ("stabilizer.estimator", "uint8", 2, False),
    ("stabilizer.controller", "uint8", 1, False),
    ("stabilizer.stop", "uint8", 0, False),
    ("commander.enHighLevel", "uint8", 1, False),
    ("pid_attitude.roll_kp", "float", 0, True),
    ("pid_attitude.pitch_kp", "float", 0, True),
    ("pid_attitude.yaw_kp", "float", 0, True),
    ("kalman.resetEstimation", "uint8", 0, False),
    ("kalman.initialX", "float", 0, False),
    ("kalman.initialY", "float", 0, False),
    ("kalman.initialZ", "float", 0, False),
    ("kalman.initialYaw", "float", 0, False),
    ("locSrv.extPosStdDev", "float", 0.01, False),
    ("locSrv.extQuatStdDev", "float", 0.0045, False),
    ("hlCommander.vtoff", "float", 0.5, False),
    ("hlCommander.vland", "float", 0.5, False),
    ("supervisor.prefltTimeout", "uint16", 30000, False),
    ("supervisor.landedTimeout", "uint16", 3000, False),
    ("pm.lowVoltage", "float", 3.2, False),
    ("pm.criticalLowVoltage", "float", 3.0, False),
    ("deck.bcFlow2", "uint8", 0, True),
    ("deck.bcLighthouse4", "uint8", 0, True),
    ("deck.bcLoco", "uint8", 0, True),
    ("firmware.revision0", "uint32", 0, True),
    ("firmware.revision1", "uint16", 0, True),
    ("firmware.modified", "uint8", 0, True),
    ("cpu.flash", "uint16", 1024, True),
    ("system.selftestPassed", "int8", 1, True),
)


class Parameters:
    """Values by name, and the port that gives them out."""

    def __init__(self, without: Collection[str] = (), told: Mapping[str, float] | None = None):
        """without: names that this firmware lacks. told: values at start that depend on the vehicle."""
        kept = [d for d in _DEFINED if d[0] not in without]
        entries = [Entry(name, kind, READ_ONLY if fixed else 0) for name, kind, _, fixed in kept]
        self.table = Table(entries, PARAM_TYPES)
        self._defaults = {name: (told or {}).get(name, value) for name, _, value, _ in kept}
        self.values = dict(self._defaults)

    def get(self, name: str, default: float = 0.0) -> float:
        """The value, or ``default`` for a parameter that this firmware lacks."""
        return self.values.get(name, default)

    def handle(self, packet: Packet) -> Iterator[Packet]:
        """Answers a packet of the parameters' port."""
        data = packet.data
        if packet.channel == _TABLE:
            answer = self.table.answer(data)
        elif packet.channel == _READ:
            answer = self._read(data)
        elif packet.channel == _WRITE:
            answer = self._write(data)
        else:
            answer = self._misc(data)
        if answer is not None:
            yield Packet(Port.PARAM, packet.channel, answer)

    def _entry(self, data: bytes) -> Entry | None:
        i = int.from_bytes(data[:2], "little")
        return self.table.entries[i] if len(data) >= 2 and i < len(self.table.entries) else None

    def _read(self, data: bytes) -> bytes | None:
        entry = self._entry(data)
        if entry is None:
            return data[:2] + bytes((errno.ENOENT,)) if len(data) >= 2 else None
        return data[:2] + b"\0" + pack(entry.kind, self.values[entry.name])

    def _write(self, data: bytes) -> bytes | None:
        entry = self._entry(data)
        if entry is None:
            return data[:2] + bytes((errno.ENOENT,)) if len(data) >= 2 else None
        return data if not entry.flags & READ_ONLY and self._set(entry, data[2:]) else None

    def _set(self, entry: Entry, raw: bytes) -> bool:
        """Takes a value of the right length; one that is not finite is refused."""
        if len(raw) != size_of(entry.kind):
            return False
        value = unpack(entry.kind, raw)
        if not math.isfinite(value):
            return False
        self.values[entry.name] = value
        return True

    def _misc(self, data: bytes) -> bytes | None:
        if not data:
            return None
        command, entry = data[0], self._entry(data[1:])
        if command == _SET_BY_NAME:
            return self._set_by_name(data)
        if command in (_TYPE_V2, _DEFAULT_V2, _STORE, _STATE, _CLEAR) and len(data) >= 3:
            if command != _DEFAULT_V2 or entry is None:  # nothing here outlives the power switch
                return data[:3] + bytes((errno.ENOENT,))
            return data[:3] + b"\0" + pack(entry.kind, self._defaults[entry.name])
        if command in (_TYPE, _DEFAULT) and len(data) >= 3:
            if command == _TYPE or entry is None:
                return data[:3] + bytes((errno.ENOENT,))
            return data[:3] + pack(entry.kind, self._defaults[entry.name])
        return None

    def _set_by_name(self, data: bytes) -> bytes | None:
        parts = data[1:].split(b"\0", 2)
        if len(parts) != 3 or not parts[2]:
            return None
        name = b".".join(parts[:2]).decode("latin-1")
        head = data[: len(parts[0]) + len(parts[1]) + 3]
        if name not in self.table.index:
            return head + struct.pack("<B", errno.ENOENT)
        entry = self.table.entries[self.table.index[name]]
        if entry.flags & READ_ONLY:
            return head + struct.pack("<B", errno.EACCES)
        if parts[2][0] != PARAM_TYPES[entry.kind] or not self._set(entry, parts[2][1:]):
            return head + struct.pack("<B", errno.EINVAL)
        return head + b"\0"

"""Tables of contents: how a Crazyflie tells which log variables and parameters it has.

Requests and answers as in the firmware's param_logic.c and log.c. The CRC names the table, so that clients may keep
a copy: it changes with any name or type.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

_ITEM, _INFO, _ITEM_V2, _INFO_V2 = 0, 1, 2, 3

LOG_TYPES = {"uint8": 1, "uint16": 2, "uint32": 3, "int8": 4, "int16": 5, "int32": 6, "float": 7, "fp16": 8}
PARAM_TYPES = {"uint8": 0x08, "uint16": 0x09, "uint32": 0x0A, "int8": 0x00, "int16": 0x01, "int32": 0x02, "float": 0x06}
READ_ONLY = 0x40
_FORMATS = {
    "uint8": "B",
    "uint16": "H",
    "uint32": "I",
    "int8": "b",
    "int16": "h",
    "int32": "i",
    "float": "f",
    "fp16": "e",
}
_LARGEST = {"float": 3.4028234e38, "fp16": 65504.0}


def size_of(kind: str) -> int:
    """Bytes of a type."""
    return struct.calcsize("<" + _FORMATS[kind])


def pack(kind: str, value: float) -> bytes:
    """A value as its bytes: integers wrap as in C, floats saturate."""
    if kind in _LARGEST:
        bound = _LARGEST[kind]
        return struct.pack("<" + _FORMATS[kind], min(max(value, -bound), bound))
    size = size_of(kind)
    return (int(value) & ((1 << 8 * size) - 1)).to_bytes(size, "little")


def unpack(kind: str, data: bytes) -> float:
    """The value of bytes of the right length."""
    return struct.unpack("<" + _FORMATS[kind], data)[0]


@dataclass(frozen=True)
class Entry:
    """group.name, the type's name, and what is told of it beside the type."""

    name: str
    kind: str
    flags: int = 0


class Table:
    """The table of one port."""

    def __init__(self, entries: Sequence[Entry], codes: dict[str, int], limits: bytes = b""):
        self.entries, self._codes, self._limits = tuple(entries), codes, limits
        self.index = {entry.name: i for i, entry in enumerate(self.entries)}
        self.crc = 0
        for i in range(len(self.entries)):
            self.crc = zlib.crc32(self._item(i), self.crc)

    def answer(self, data: bytes) -> bytes | None:
        """The answer to a request on the table's channel; None where there is none."""
        if not data:
            return None
        if data[0] == _INFO_V2:
            return struct.pack("<BHI", _INFO_V2, len(self.entries), self.crc) + self._limits
        if data[0] == _INFO:
            return struct.pack("<BBI", _INFO, min(len(self.entries), 255), self.crc) + self._limits
        if data[0] == _ITEM_V2 and len(data) >= 3:
            i = int.from_bytes(data[1:3], "little")
            return data[:3] + self._item(i) if i < len(self.entries) else data[:1]
        if data[0] == _ITEM and len(data) >= 2:
            return data[:2] + self._item(data[1]) if data[1] < len(self.entries) else data[:1]
        return None

    def _item(self, i: int) -> bytes:
        entry = self.entries[i]
        group, name = entry.name.split(".")
        return bytes((self._codes[entry.kind] | entry.flags,)) + f"{group}\0{name}\0".encode()

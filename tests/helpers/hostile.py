"""Packets that nobody should send, by the million and always the same ones, and the memory that they leave taken."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator
from pathlib import Path

from pymavlink.dialects.v20 import common

from control_stack.crazyflie.wire import Packet, Port

_PAGE = 4096
_FLYING = [
    82,
    84,
    75,
    76,
    11,
    70,
    23,
]  # SET_ATTITUDE_TARGET, SET_POSITION_TARGET, COMMAND_INT, _LONG, SET_MODE, RC, PARAM_SET
_TOLD = [0, 30, 31, 32, 77, 111, 22, 331, 245, 253, 148]  # what the driver listens to
_ARM = 400  # MAV_CMD_COMPONENT_ARM_DISARM
_FLOATS = [struct.pack("<f", v) for v in (0.0, 2.0, 0.999, -1.0, float("nan"), float("inf"), 3e38, 21196.0)]


def resident() -> int:
    """Memory of this process, bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE


def framed(number: int, payload: bytes, system: int = 1, component: int = 1) -> bytes:
    """Any payload as a MAVLink 2 message of any type with a right checksum."""
    kind = common.mavlink_map[number]
    head = bytes([len(payload), 0, 0, 0, system, component, number & 255, (number >> 8) & 255, number >> 16])
    check = common.x25crc(bytearray(head + payload + bytes([kind.crc_extra]))).crc
    return b"\xfd" + head + payload + check.to_bytes(2, "little")


def arms(payload: bytes) -> bool:
    """Whether a COMMAND_LONG or COMMAND_INT says to arm: command 400, first parameter 1."""
    return payload[:4] == struct.pack("<f", 1.0) and payload[28:30] == _ARM.to_bytes(2, "little")


def mavlink_datagrams(count: int, seed: int, system: int) -> Iterator[bytes]:
    """A quarter noise, a quarter broken frames, the rest well-formed messages with any content, none that arms.

    Broken ones lack their end or have a bit flipped; a hundredth comes from other systems.
    """
    rng = random.Random(seed)
    numbers = sorted(common.mavlink_map)
    for _ in range(count):
        draw = rng.random()
        if draw < 0.25:
            yield rng.randbytes(rng.randrange(1, 64))
            continue
        number = rng.choice(rng.choice((_FLYING, _TOLD, numbers)))
        size = common.mavlink_map[number].unpacker.size
        payload = bytearray(rng.randbytes(rng.choice((size, size, rng.randrange(size + 1)))))
        if number in (75, 76) and len(payload) == size and rng.random() < 0.7:
            payload[:4] = rng.choice(_FLOATS)
            payload[28:30] = rng.choice((400, 176, 21, 22, 192, 511, 512, 16, 185)).to_bytes(2, "little")
        for at in range(0, len(payload) - 3, 4):
            if rng.random() < 0.2:
                payload[at : at + 4] = rng.choice(_FLOATS)
        if arms(payload):
            continue
        data = framed(number, bytes(payload), system if rng.random() < 0.99 else rng.randrange(256))
        if draw < 0.375:
            data = data[: rng.randrange(1, len(data))]
        elif draw < 0.5:
            flipped = bytearray(data)
            flipped[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
            data = bytes(flipped)
        if not arms(data[10:]):
            yield data


_PORTS = [int(port) for port in Port]


def crtp_datagrams(count: int, seed: int) -> Iterator[bytes]:
    """A third anything at all, a third of a known port, a third data of the log blocks that a driver has."""
    rng = random.Random(seed)
    for _ in range(count):
        draw = rng.randrange(3)
        if draw == 0:
            yield rng.randbytes(rng.randrange(1, 32))
        elif draw == 1:
            yield Packet(rng.choice(_PORTS), rng.randrange(4), rng.randbytes(rng.randrange(31))).encode()
        else:
            block = bytes((rng.randrange(1, 5),)) + rng.randbytes(3)
            yield Packet(Port.LOG, 2, block + rng.randbytes(rng.choice((22, 24, 6, 28)))[:26]).encode()

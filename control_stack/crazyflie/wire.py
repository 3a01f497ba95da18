"""The Crazyflie's packets (CRTP) as both ends see them: ports, framing, and the supervisor's bits.

One datagram is a header byte and 0 to 30 bytes of payload, without checksum: port in bits 7-4, channel in bits 1-0
(Bitcraze, "CRTP - Communication with the Crazyflie").
"""

from __future__ import annotations

from enum import IntEnum, IntFlag
from typing import NamedTuple

MAX_PAYLOAD = 30  # bytes
OLDEST_PROTOCOL, NEWEST_PROTOCOL = 4, 12  # 16-bit tables of contents came with 4; 12 has the supervisor's own port
LEVEL_OUT_AFTER = 0.5  # s without a setpoint (firmware, supervisor.c)
MOTORS_OFF_AFTER = 2.0  # s without a setpoint (firmware, supervisor.c)
RPYT_MIN_THRUST, RPYT_MAX_THRUST = 1000, 60000  # commands below and above are cut (firmware, crtp_commander_rpyt.c)


class Port(IntEnum):
    """CRTP ports."""

    CONSOLE = 0x0
    PARAM = 0x2
    COMMANDER = 0x3
    MEMORY = 0x4
    LOG = 0x5
    LOCALIZATION = 0x6
    GENERIC = 0x7
    HIGH_LEVEL = 0x8
    SUPERVISOR = 0x9
    PLATFORM = 0xD
    LINK = 0xF


class Info(IntFlag):
    """Bits of the log variable supervisor.info (firmware, supervisor.c)."""

    CAN_BE_ARMED = 1 << 0
    ARMED = 1 << 1
    AUTO_ARMED = 1 << 2
    CAN_FLY = 1 << 3
    FLYING = 1 << 4
    TUMBLED = 1 << 5
    LOCKED = 1 << 6
    CRASHED = 1 << 7
    HIGH_LEVEL_ACTIVE = 1 << 8
    HIGH_LEVEL_FINISHED = 1 << 9
    HIGH_LEVEL_DISABLED = 1 << 10


class Packet(NamedTuple):
    """One CRTP packet."""

    port: int
    channel: int
    data: bytes = b""

    def encode(self) -> bytes:
        """The datagram; bits 3 and 2 of the header are set, as the bootloader of old wants them."""
        return bytes(((self.port & 0xF) << 4 | 0x0C | (self.channel & 0x3),)) + self.data


def decode(datagram: bytes) -> Packet | None:
    """The packet in a datagram; None for one that is empty or too long."""
    if not 1 <= len(datagram) <= 1 + MAX_PAYLOAD:
        return None
    return Packet(datagram[0] >> 4, datagram[0] & 0x3, bytes(datagram[1:]))


def is_null(packet: Packet) -> bool:
    """Whether it is the empty packet that scans and radio polls send."""
    return packet.port == Port.LINK and packet.channel == 3

"""Bytes to MAVLink messages: whole frames come through, the rest is dropped and counted, memory stays flat."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("pymavlink")
from pymavlink.dialects.v20 import common

from control_stack.px4.codec import Codec
from control_stack.px4.framing import Deframer
from control_stack.px4.modes import AUTO, LAND, MAIN, OFFBOARD, TAKEOFF, Mode


def codec(key: str | None = None, datagrams: bool = False, system: int = 7) -> Codec:
    return Codec(common, system, 1, datagrams, key)


def beat(number: int):
    return common.MAVLink_heartbeat_message(2, 12, 81, number, 4, 3)


def frames(count: int, key: str | None = None) -> list[bytes]:
    sender = codec(key)
    return [sender.encode(beat(i)) for i in range(count)]


@given(st.lists(st.integers(0, 200), max_size=20))
def test_a_stream_cut_anywhere_gives_every_message_once(cuts: list[int]):
    data, receiver = b"".join(frames(8)), codec()
    places = sorted({min(cut, len(data)) for cut in cuts} | {0, len(data)})
    parts = [data[a:b] for a, b in zip(places, places[1:], strict=False)]
    heard = [m.custom_mode for part in parts for m in receiver.decode(part)]
    assert heard == list(range(8)) and not receiver.decoder.drops


@given(st.integers(1, 20), st.integers(0, 7))
def test_a_flipped_bit_is_dropped_and_the_next_message_heard(place: int, bit: int):
    first, second = frames(2)
    broken = bytearray(first)
    broken[min(place, len(broken) - 1)] ^= 1 << bit
    receiver = codec(datagrams=True)
    heard = [m for data in (bytes(broken), second) for m in receiver.decode(data)]
    assert [m.custom_mode for m in heard] == [1]
    assert sum(receiver.decoder.drops.values()) >= 1


def test_a_wrong_checksum_is_counted_as_one():
    (data,) = frames(1)
    receiver = codec(datagrams=True)
    assert not list(receiver.decode(data[:-2] + bytes([data[-2] ^ 0xFF, data[-1]])))
    assert receiver.decoder.drops == {"crc": 1}


def test_unsigned_and_wrongly_signed_are_dropped_where_signing_is_on():
    receiver = codec("ours", datagrams=True, system=1)
    for data in (*frames(1), *frames(1, "theirs")):
        assert not list(receiver.decode(data))
    assert receiver.decoder.drops == {"signature": 2}
    good = frames(2, "ours")
    assert [m.custom_mode for data in good for m in receiver.decode(data)] == [0, 1]
    assert not list(receiver.decode(good[0])), "a replayed message"
    assert receiver.decoder.drops == {"signature": 3}


def test_a_forged_stream_does_not_lock_the_true_sender_out():
    """Thousands of senders with a wrong key, one of them in the true sender's name and ahead of it in time."""
    receiver, true = codec("ours", datagrams=True, system=1), codec("ours")
    first = true.encode(beat(0))
    for system in range(1, 250):
        forged = codec("theirs", system=system)
        forged._link.signing.timestamp += 10**6
        assert not list(receiver.decode(forged.encode(beat(9))))
    assert not receiver._link.signing.stream_timestamps
    assert [m.custom_mode for m in receiver.decode(first)] == [0]


def test_flags_and_ids_that_nobody_knows_are_dropped():
    (data,) = frames(1)
    receiver = codec(datagrams=True)
    assert not list(receiver.decode(data[:2] + b"\x80" + data[3:]))
    assert not list(receiver.decode(data[:7] + b"\xff\xff\xff" + data[10:]))
    assert receiver.decoder.drops == {"malformed": 1, "unknown": 1}


@settings(max_examples=300)
@given(st.lists(st.binary(max_size=400), max_size=10), st.booleans())
def test_any_bytes_are_survived_in_bounded_memory(parts: list[bytes], datagrams: bool):
    receiver = codec(datagrams=datagrams)
    for part in parts:
        for message in receiver.decode(part):
            assert message.get_msgId() >= 0
    assert len(receiver.decoder._deframer._rest) < 300
    (data,) = frames(1)
    # A broken head may have claimed up to 280 bytes more; after those every stream is in step again.
    for _ in range(40):
        last = list(receiver.decode(data))
    assert [m.custom_mode for m in last] == [0]


@settings(max_examples=300)
@given(st.binary(min_size=1, max_size=600))
def test_frames_are_parts_of_what_came(data: bytes):
    assert all(bytes(frame) in data for frame in Deframer(datagrams=True).feed(data))


@settings(max_examples=500)
@given(st.sampled_from(sorted(common.mavlink_map)), st.binary(max_size=255))
def test_any_payload_under_a_right_checksum_is_survived(number: int, payload: bytes):
    """A checksum proves nothing about what is inside: every message type with any content."""
    kind = common.mavlink_map[number]
    head = bytes([len(payload), 0, 0, 0, 1, 1, number & 255, (number >> 8) & 255, number >> 16])
    check = common.x25crc(bytearray(head + payload + bytes([kind.crc_extra]))).crc
    receiver = codec(datagrams=True)
    heard = list(receiver.decode(b"\xfd" + head + payload + check.to_bytes(2, "little")))
    assert len(heard) + sum(receiver.decoder.drops.values()) >= 1


def test_modes_as_px4_packs_them():
    assert OFFBOARD.custom == 6 << 16 and LAND.custom == 4 << 16 | 6 << 24
    assert (OFFBOARD.name, TAKEOFF.name, Mode(9, 3).name) == ("OFFBOARD", "AUTO.TAKEOFF", "main 9.3")
    for main in MAIN.values():
        for sub in (0, *AUTO.values()):
            assert Mode.of(Mode(main, sub).custom) == Mode(main, sub)

"""The Crazyflie's packets and compressed quaternions, against the library of its maker where that is installed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_stack.crazyflie.quaternion import compress, decompress
from control_stack.crazyflie.wire import Packet, decode, is_null

unit = st.tuples(*[st.floats(-1.0, 1.0)] * 4).filter(lambda q: np.linalg.norm(q) > 0.1)


@given(unit)
def test_a_quaternion_survives_32_bits(q: tuple[float, ...]) -> None:
    """Each component to half a step of 1/sqrt(2)/511; the largest, from unit norm, to three halves of one."""
    q = np.array(q) / np.linalg.norm(q)
    back = decompress(compress(q))
    assert np.linalg.norm(back) == pytest.approx(1.0)
    assert abs(np.dot(q, back)) >= 1.0 - 0.5 * 3.0 * (2.0 * np.sqrt(0.5) / 511) ** 2
    np.testing.assert_array_equal(decompress(compress(-q)), back)


@given(st.integers(0, 2**32 - 1))
def test_any_number_is_a_unit_quaternion(number: int) -> None:
    assert np.linalg.norm(decompress(number)) == pytest.approx(1.0)


@given(unit)
def test_the_makers_library_agrees(q: tuple[float, ...]) -> None:
    encoding = pytest.importorskip("cflib.utils.encoding")
    q = np.array(q) / np.linalg.norm(q)
    assert compress(q) == encoding.compress_quaternion(q)
    np.testing.assert_allclose(decompress(compress(q)), encoding.decompress_quaternion(compress(q)), atol=1e-9)


@given(st.integers(0, 15), st.integers(0, 3), st.binary(max_size=30))
def test_a_packet_survives_its_datagram(port: int, channel: int, data: bytes) -> None:
    packet = Packet(port, channel, data)
    assert decode(packet.encode()) == packet
    assert is_null(packet) == (port == 15 and channel == 3)


def test_what_no_packet_is() -> None:
    assert decode(b"") is None and decode(bytes(32)) is None
    assert is_null(decode(b"\xff"))

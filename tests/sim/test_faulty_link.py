"""The relay alone, on a clock of the test: it loses its share, delays as told, keeps or breaks order, and forgets."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from control_stack.errors import InvalidInput, LinkError
from sim.emulators.faulty_link import Faults, FaultyLink


class Ends:
    """A client at the relay, and a vehicle that it was told of."""

    def __init__(self) -> None:
        self.now = 0.0
        self.vehicle, self.client = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
        for end in (self.vehicle, self.client):
            end.bind(("127.0.0.1", 0))
            end.setblocking(False)
        self.link = FaultyLink(vehicle=self.vehicle.getsockname()[1], clock=lambda: self.now)
        self.client.connect(("127.0.0.1", self.link.port))

    def send(self, count: int, spacing: float = 0.01) -> list[tuple[float, int]]:
        """Numbers to the vehicle; returns (time, number) of what arrived, until half a second after the last."""
        arrived = []
        for k in range(count + round(0.5 / spacing)):
            if k < count:
                self.client.send(k.to_bytes(4, "little"))
            self.link.pump()
            arrived += [(self.now, int.from_bytes(data, "little")) for data in received(self.vehicle)]
            self.now += spacing
        return arrived

    def close(self) -> None:
        for end in (self.link, self.vehicle, self.client):
            end.close()


def received(end: socket.socket) -> list[bytes]:
    out = []
    while True:
        try:
            out.append(end.recv(4096))
        except BlockingIOError:
            return out


@pytest.fixture
def ends() -> Iterator[Ends]:
    both = Ends()
    yield both
    both.close()


def test_without_faults_all_passes_at_once_and_answers_come_back(ends: Ends) -> None:
    assert [number for _, number in ends.send(100)] == list(range(100))
    assert ends.link.to_vehicle == {"passed": 100, "lost": 0}
    ends.client.send(b"question")
    ends.link.pump()
    data, sender = ends.vehicle.recvfrom(100)
    assert data == b"question"
    ends.vehicle.sendto(b"answer", sender)
    ends.link.pump()
    assert ends.client.recv(100) == b"answer" and ends.link.to_client == {"passed": 1, "lost": 0}


@pytest.mark.parametrize("loss", [0.05, 0.2, 0.5])
def test_the_share_that_is_lost(ends: Ends, loss: float) -> None:
    ends.link.faults = Faults(loss=loss)
    arrived = ends.send(2000)
    assert abs(1.0 - len(arrived) / 2000 - loss) < 4.0 * (loss * (1.0 - loss) / 2000) ** 0.5  # four standard deviations
    assert ends.link.to_vehicle == {"passed": len(arrived), "lost": 2000 - len(arrived)}


def test_latency_and_jitter_keep_the_order(ends: Ends) -> None:
    ends.link.faults = Faults(latency=0.05, jitter=0.03)
    arrived = ends.send(500)
    assert [number for _, number in arrived] == list(range(500))
    delays = [t - 0.01 * number for t, number in arrived]
    assert min(delays) >= 0.05 - 1e-9 and max(delays) <= 0.09 + 1e-9  # it is looked at every 10 ms
    assert len({round(delay, 3) for delay in delays}) > 2


def test_what_is_held_back_is_overtaken_and_nothing_is_lost(ends: Ends) -> None:
    ends.link.faults = Faults(reorder=0.3)
    numbers = [number for _, number in ends.send(500)]
    assert sorted(numbers) == list(range(500)) and numbers != sorted(numbers)
    assert 0.15 < sum(b < a for a, b in zip(numbers, numbers[1:], strict=False)) / 500 < 0.35


def test_a_cut_forgets_what_was_under_way(ends: Ends) -> None:
    ends.link.faults = Faults(latency=0.1)
    ends.client.send(b"under way")
    ends.link.pump()
    ends.link.faults = Faults(cut=True)
    assert ends.send(10) == []
    ends.link.faults = Faults()
    assert [number for _, number in ends.send(5)] == list(range(5))
    assert ends.link.to_vehicle == {"passed": 5, "lost": 11}


def test_a_client_that_listens_is_found_by_its_port() -> None:
    """As PX4 does it: the vehicle speaks first, and the client answers whom it heard."""
    client, vehicle = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
    client.bind(("127.0.0.1", 0))
    link = FaultyLink(client=client.getsockname()[1])
    link.start()
    try:
        for end in (client, vehicle):
            end.settimeout(5.0)
        vehicle.sendto(b"heartbeat", ("127.0.0.1", link.port))
        data, sender = client.recvfrom(100)
        assert data == b"heartbeat"
        client.sendto(b"setpoint", sender)
        assert vehicle.recv(100) == b"setpoint"
        assert link.to_vehicle["passed"] == link.to_client["passed"] == 1
    finally:
        for end in (link, client, vehicle):
            end.close()


@pytest.mark.parametrize(
    "bad", [{"loss": -0.1}, {"loss": 1.1}, {"reorder": 2.0}, {"latency": -1.0}, {"jitter": float("nan")}]
)
def test_impossible_faults_are_refused(bad: dict[str, float]) -> None:
    with pytest.raises(InvalidInput, match=next(iter(bad))):
        Faults(**bad)


def test_one_end_must_be_given_and_the_port_be_free(ends: Ends) -> None:
    for ports in ({}, {"vehicle": 1, "client": 2}):
        with pytest.raises(InvalidInput, match="not both"):
            FaultyLink(**ports)
    with pytest.raises(LinkError, match="cannot be had"):
        FaultyLink(vehicle=1, port=ends.link.port)

"""``bench links``: its parts run and their rows have what they promise; how fast they are is for the bench itself."""

from __future__ import annotations

import math
import socket

import pytest

pytest.importorskip("cflib")
pytest.importorskip("pymavlink")

from benchmarks import link_fleet, link_loop, links
from benchmarks.served_links import free_ports, served
from control_stack.errors import LinkError
from control_stack.types import CommandLevel
from controllers.loader import load_controller


def test_ports_in_a_row_are_free() -> None:
    first = free_ports(3)
    for port in range(first, first + 3):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as wire:
            wire.bind(("127.0.0.1", port))


def test_a_server_that_does_not_start_is_said() -> None:
    with (
        pytest.raises(LinkError, match="sim serve --as crazyflie did not start: error: --count"),
        served("crazyflie", 200),
    ):
        pass


def test_groups_and_levels() -> None:
    assert set(links.GROUPS) == {"crazyflie loop", "px4 loop", "crazyflie eight", "px4 eight", "crazyflie fleet"}
    for level, options in links.LEVELS.items():
        if options[0] == "--controller":
            assert load_controller(options[1]).levels == (CommandLevel(level),)


@pytest.mark.parametrize("kind", ["crazyflie", "px4"])
def test_the_loops_rows(kind: str) -> None:
    rows = {row.metric: row for row in link_loop.loop(kind, 0, 100)}
    overhead = rows["controller output to bytes on the wire p99"]
    assert overhead.target == "< 1" and overhead.value > 0.0 and overhead.peer is not None and overhead.peer > 0.0
    assert rows["period error p99"].target == "< 2" and rows["state age p99"].value > 0.0
    assert all(math.isfinite(row.value) for row in rows.values())


@pytest.mark.parametrize("plain", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["ours", "cflib alone"])
def test_a_small_fleet(plain: bool) -> None:
    figures, given_up = link_fleet.fleet(2, 1.0, plain, 0)
    assert given_up >= 0.0 and set(figures) == {
        "state rate, mean",
        "state rate, slowest link",
        "setpoint rate",
        "time to connect, each",
    }
    assert all(value > 0.0 for value in figures.values())


def test_the_count_at_which_rates_drop_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def fleet(count: int, seconds: float, plain: bool, seed: int) -> tuple[dict[str, float], float]:
        rate = 50.0 if count <= 15 else 40.0
        names = ("state rate, mean", "state rate, slowest link", "setpoint rate", "time to connect, each")
        return dict.fromkeys(names, rate), 0.0

    monkeypatch.setattr(link_fleet, "fleet", fleet)
    rows = {row.metric: row for row in link_fleet.measure(0, False)}
    assert rows["most links that hold the rate"].value == 15 and rows["most links that hold the rate"].holds is False
    assert rows["links at which it drops"].value == 20
    quick = {row.metric: row for row in link_fleet.measure(0, True)}
    assert quick["most links that hold the rate"].value == 5

"""Many Crazyflies on one machine: one process serves them all, another flies them all with cflib.

Every vehicle hovers on position setpoints of 50 Hz and tells its state 50 times a second in one compressed log block.
The client is a process of its own: python -m benchmarks.link_fleet [--plain] SECONDS URI... prints its figures as
JSON. With --plain it is cflib alone, without our driver: the peer.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from benchmarks.served_links import ROOT, served
from control_stack.artefacts.tables import BenchRow
from control_stack.errors import LinkError
from control_stack.quadrotor.parameters import load_vehicle
from control_stack.types import PositionCommand

RATE, FULL = 50.0, 0.95  # Hz; share of it at which a rate counts as held
TARGET = ">= 20"  # links
COUNTS, QUICK_COUNTS = (1, 2, 5, 10, 15, 20, 30, 40, 60), (1, 5, 20)
_SETTLE, _HEIGHT = 2.0, 0.4  # s, m
_VARIABLES = [(f"stateEstimateZ.{name}", "int16_t") for name in ("x", "y", "z", "vx", "vy", "vz")]
_VARIABLES += [("stateEstimateZ.quat", "uint32_t")]
_VARIABLES += [(f"stateEstimateZ.{name}", "int16_t") for name in ("rateRoll", "ratePitch", "rateYaw")]


def measure(seed: int, quick: bool) -> list[BenchRow]:
    """Rates over the number of links, up to where they drop."""
    rows, most, last = [], 0, 0
    for count in QUICK_COUNTS if quick else COUNTS:
        ours, given_up = fleet(count, 5.0 if quick else 15.0, False, seed)
        # The peer's whole run at each count only where there is time for it.
        peer = fleet(count, 15.0, True, seed)[0] if not quick else {}
        test = f"crazyflie, {count} links of one process to one emulator process"
        for name, unit in (
            ("state rate, mean", "Hz"),
            ("state rate, slowest link", "Hz"),
            ("setpoint rate", "Hz"),
            ("time to connect, each", "s"),
        ):
            rows.append(BenchRow(test, name, ours[name], unit, None, peer.get(name)))
        rows.append(BenchRow(test, "emulated time given up", given_up, "s"))
        last = count
        if min(ours["state rate, slowest link"], ours["setpoint rate"]) < FULL * RATE:
            break
        most = count
    test = f"crazyflie, links at {RATE:g} Hz both ways"
    rows.append(BenchRow(test, "most links that hold the rate", float(most), "1", TARGET))
    if last > most:
        rows.append(BenchRow(test, "links at which it drops", float(last), "1"))
    return rows


def fleet(count: int, seconds: float, plain: bool, seed: int) -> tuple[dict[str, float], float]:
    """Figures of the client process, and the emulated time that the server gave up, s."""
    with served("crazyflie", count, seed) as server:
        command = [sys.executable, "-m", "benchmarks.link_fleet", *(["--plain"] if plain else [])]
        done = subprocess.run([*command, str(seconds), *server.uris], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise LinkError(f"the client of {count} links failed: {done.stderr.strip().splitlines()[-1]}")
    slipped = server.said.partition("too slow: ")[2].partition(" s ")[0]
    return json.loads(done.stdout.splitlines()[-1]), float(slipped or 0.0)


class _Ours:
    """Our driver's links."""

    def __init__(self, uris: Sequence[str]):
        from hardware.crazyflie import CrazyflieConfig, CrazyflieVehicle

        parameters, config = load_vehicle("crazyflie"), CrazyflieConfig(rate_hz=RATE, compressed=True)
        self._vehicles = [CrazyflieVehicle(parameters, uri, config) for uri in uris]
        for vehicle in self._vehicles:
            vehicle.connect()

    def start(self) -> list[Callable[[], Any]]:
        """Arms; returns the calls that send one setpoint to each."""
        for vehicle in self._vehicles:
            vehicle.arm()

        def sender(vehicle: Any) -> Callable[[], Any]:
            command = PositionCommand(vehicle.state().position_w + np.array([0.0, 0.0, _HEIGHT]))
            return lambda: vehicle.send(command)

        return [sender(vehicle) for vehicle in self._vehicles]

    def received(self) -> list[int]:
        """States so far, by link."""
        return [vehicle.telemetry.blocks["motion"].counts["received"] for vehicle in self._vehicles]

    def close(self) -> None:
        for vehicle in self._vehicles:
            vehicle.close()


class _Plain:
    """cflib's own links."""

    def __init__(self, uris: Sequence[str]):
        import cflib.crtp
        from cflib.crazyflie import Crazyflie
        from cflib.crazyflie.log import LogConfig
        from cflib.crazyflie.syncCrazyflie import SyncCrazyflie

        from hardware.crazyflie.link import cache_folder

        cflib.crtp.init_drivers()
        self._count: Counter[int] = Counter()
        self._links = [SyncCrazyflie(uri, cf=Crazyflie(rw_cache=str(cache_folder()))) for uri in uris]
        for i, link in enumerate(self._links):
            link.open_link()
            block = LogConfig("state", round(1e3 / RATE))
            for name, kind in _VARIABLES:
                block.add_variable(name, kind)
            link.cf.log.add_config(block)
            block.data_received_cb.add_callback(lambda stamp, data, config, i=i: self._count.update((i,)))
            block.start()

    def start(self) -> list[Callable[[], Any]]:
        for link in self._links:
            link.cf.supervisor.send_arming_request(True)
        time.sleep(0.5)
        for link in self._links:
            link.cf.commander.send_setpoint(0.0, 0.0, 0.0, 0)
        places = [(0.0, float(i), _HEIGHT, 0.0) for i in range(len(self._links))]

        def sender(commander: Any, place: tuple[float, ...]) -> Callable[[], Any]:
            return lambda: commander.send_position_setpoint(*place)

        return [sender(link.cf.commander, place) for link, place in zip(self._links, places, strict=True)]

    def received(self) -> list[int]:
        return [self._count[i] for i in range(len(self._links))]

    def close(self) -> None:
        for link in self._links:
            link.cf.commander.send_stop_setpoint()
            link.close_link()


def client(uris: Sequence[str], seconds: float, plain: bool) -> dict[str, float]:
    """Flies all vehicles from one loop; rates are per link and second of the wall."""
    began = time.monotonic()
    links: _Ours | _Plain = _Plain(uris) if plain else _Ours(uris)
    connecting = (time.monotonic() - began) / len(uris)
    try:
        senders = links.start()
        stream(senders, _SETTLE)
        before, began = np.array(links.received()), time.monotonic()
        rounds = stream(senders, seconds)
        took = time.monotonic() - began
        states = (np.array(links.received()) - before) / took
    finally:
        links.close()
    return {
        "state rate, mean": float(states.mean()),
        "state rate, slowest link": float(states.min()),
        "setpoint rate": rounds / took,
        "time to connect, each": connecting,
    }


def stream(senders: Sequence[Callable[[], Any]], seconds: float) -> int:
    """A setpoint to each at 50 Hz for so long; how many rounds were made. Rounds that come too late are left out."""
    due = began = time.monotonic()
    rounds = 0
    while time.monotonic() < began + seconds:
        for send in senders:
            send()
        rounds += 1
        due = max(due + 1.0 / RATE, time.monotonic() - 1.0 / RATE)
        time.sleep(max(due - time.monotonic(), 0.0))
    return rounds


def main(arguments: Sequence[str]) -> None:
    plain = arguments[0] == "--plain"
    seconds, *uris = arguments[plain:]
    print(json.dumps(client(uris, float(seconds), plain)))


if __name__ == "__main__":
    main(sys.argv[1:])

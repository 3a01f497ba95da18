"""Clients at the pace of the wall: the maker's library as its own examples use it, and our driver's states."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("cflib")

import cflib.crtp
from cflib.crazyflie import Crazyflie
from cflib.crazyflie.log import LogConfig
from cflib.crazyflie.syncCrazyflie import SyncCrazyflie
from cflib.crazyflie.syncLogger import SyncLogger
from cflib.positioning.motion_commander import MotionCommander
from cflib.positioning.position_hl_commander import PositionHlCommander
from cflib.utils.reset_estimator import reset_estimator
from emulated_crazyflie import Served, served

from control_stack.quadrotor.parameters import load_vehicle
from control_stack.types import PositionCommand
from hardware.crazyflie import CrazyflieConfig, CrazyflieVehicle

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture
def one() -> Iterator[Served]:
    if not cflib.crtp.CLASSES:
        cflib.crtp.init_drivers()
    with served() as vehicle:
        yield vehicle


@pytest.fixture
def scf(one: Served, tmp_path: Path) -> Iterator[SyncCrazyflie]:
    with SyncCrazyflie(one.uri, cf=Crazyflie(rw_cache=str(tmp_path))) as link:
        link.wait_for_params()
        yield link


def where(one: Served) -> np.ndarray:
    return one.firmware.vehicle.true_state().position_w


def test_connecting_loads_tables_parameters_and_memories(one: Served, scf: SyncCrazyflie) -> None:
    cf = scf.cf
    assert {f"{g}.{n}" for g, names in cf.log.toc.toc.items() for n in names} >= {"stateEstimate.x", "pm.vbat"}
    assert float(cf.param.get_value("stabilizer.estimator")) == 2.0
    assert cf.mem.mems == [] and cf.platform.get_protocol_version() == 12
    cf.param.set_value("flightmode.stabModeYaw", 1)
    deadline = time.monotonic() + 5.0
    while cf.param.get_value("flightmode.stabModeYaw") != "1" and time.monotonic() < deadline:
        time.sleep(0.01)
    assert one.firmware.parameters.values["flightmode.stabModeYaw"] == 1
    defaults = []
    cf.param.get_default_value("flightmode.stabModeYaw", lambda name, value: defaults.append(value))
    while not defaults and time.monotonic() < deadline:
        time.sleep(0.01)
    assert defaults == [0]
    assert not one.firmware.supervisor.armed


@pytest.mark.slow
def test_the_estimator_can_be_reset_as_examples_do(scf: SyncCrazyflie) -> None:
    done = threading.Thread(target=reset_estimator, args=(scf,), daemon=True)
    done.start()
    done.join(30.0)
    assert not done.is_alive()


def test_the_motion_commander_takes_off_moves_and_lands(one: Served, scf: SyncCrazyflie) -> None:
    scf.cf.supervisor.send_arming_request(True)
    with MotionCommander(scf, default_height=0.4) as mc:
        start = where(one).copy()
        assert start[2] > 0.2
        mc.forward(0.4, velocity=0.5)
        mc.turn_left(90, rate=180)
        mc.forward(0.3, velocity=0.5)
        assert where(one)[0] > 0.25 and where(one)[1] > 0.08  # it is still on its way
    time.sleep(0.3)
    assert where(one)[2] < 0.1


def test_the_high_level_commander_takes_off_moves_and_lands(one: Served, scf: SyncCrazyflie) -> None:
    scf.cf.supervisor.send_arming_request(True)
    with PositionHlCommander(scf, default_velocity=0.8, default_height=0.5) as pc:
        pc.go_to(0.5, 0.3, 0.7)
        np.testing.assert_allclose(where(one), [0.5, 0.3, 0.7], atol=0.1)
    assert where(one)[2] < 0.15


def test_a_log_block_comes_every_ten_milliseconds_of_the_vehicle(scf: SyncCrazyflie) -> None:
    block = LogConfig("state", 10)
    for name in ("stateEstimate.x", "stateEstimate.pitch", "acc.z", "stabilizer.thrust"):
        block.add_variable(name, "float")
    with SyncLogger(scf, block) as logger:
        entries = [entry for entry, _ in zip(logger, range(100), strict=False)]
    stamps = np.array([stamp for stamp, _, _ in entries])
    np.testing.assert_array_equal(np.diff(stamps), 10)
    assert entries[-1][1]["acc.z"] == pytest.approx(1.0, abs=0.01)


def test_scanning_does_not_take_the_log_away(one: Served, tmp_path: Path) -> None:
    """The empty packet of a scan is answered, but states go on to the client that flies."""
    import socket

    vehicle = CrazyflieVehicle(load_vehicle("crazyflie"), one.uri, CrazyflieConfig(cache=tmp_path))
    vehicle.connect()
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as scan:
            scan.settimeout(5.0)
            scan.sendto(b"\xff", ("127.0.0.1", one.server.ports[0]))
            assert scan.recv(64) == b"\xff"
        before = vehicle.state().stamp
        assert vehicle.telemetry.wait(before + 0.1, 5.0)
        counts = vehicle.telemetry.blocks["motion"].counts
        assert counts["missing"] == counts["out_of_order"] == counts["refused"] == 0
    finally:
        vehicle.close()


def test_a_link_that_breaks_is_told(one: Served, tmp_path: Path) -> None:
    vehicle = CrazyflieVehicle(load_vehicle("crazyflie"), one.uri, CrazyflieConfig(cache=tmp_path))
    vehicle.connect()
    try:
        vehicle.arm()
        one.close()
        deadline = time.monotonic() + 10.0
        while vehicle.lost_control() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        assert vehicle.lost_control()
        assert not vehicle.state().valid
    finally:
        vehicle.close()


def test_connecting_and_flying_with_a_tenth_of_all_packets_lost(one: Served, tmp_path: Path) -> None:
    """Both ways; the tables are known from before, so that the test is short."""
    config = CrazyflieConfig(cache=tmp_path)
    vehicle = CrazyflieVehicle(load_vehicle("crazyflie"), one.uri, config)
    vehicle.connect()
    vehicle.close()
    random, firmware = np.random.default_rng(3), one.firmware
    handle, step = firmware.handle, firmware.step

    def kept(datagrams: list[bytes]) -> list[bytes]:
        return [datagram for datagram in datagrams if random.random() > 0.1]

    firmware.handle = lambda datagram: kept(handle(datagram)) if random.random() > 0.1 else []
    firmware.step = lambda dt: kept(step(dt))
    vehicle.connect()
    try:
        vehicle.arm()
        end = vehicle.state().stamp + 3.0
        while vehicle.state().stamp < end:
            vehicle.send(PositionCommand(np.array([0.0, 0.0, 0.5])))
            assert vehicle.wait_for_state(2.0) and vehicle.lost_control() is None
        assert where(one)[2] == pytest.approx(0.5, abs=0.05)
        counts = vehicle.telemetry.blocks["motion"].counts
        assert 0.03 < counts["missing"] / (counts["missing"] + counts["received"]) < 0.2
    finally:
        vehicle.close()

"""Flies the emulated Crazyflie with cflib alone, the vendor's client library, as its own examples do.

    control-stack sim serve --as crazyflie        # in another terminal
    python examples/crazyflie_cflib.py            # or: python examples/crazyflie_cflib.py tcp://127.0.0.1:19850

Arms, takes off, flies a square on the on-board planner, then steps with the motion commander, and lands; prints where
the log says it was, and exits with 0 if all of it happened. The same script flies a real vehicle that knows its
position: uri radio://0/80/2M/E7E7E7E7E7.
"""

from __future__ import annotations

import math
import sys
import tempfile
import time

import cflib.crtp
from cflib.crazyflie import Crazyflie
from cflib.crazyflie.log import LogConfig
from cflib.crazyflie.syncCrazyflie import SyncCrazyflie
from cflib.crazyflie.syncLogger import SyncLogger
from cflib.positioning.motion_commander import MotionCommander
from cflib.positioning.position_hl_commander import PositionHlCommander

HEIGHT, SIDE = 0.5, 0.4  # m


def where(scf: SyncCrazyflie) -> tuple[float, float, float]:
    """Position by the next packet of a log block, m."""
    block = LogConfig("position", 50)
    for axis in "xyz":
        block.add_variable(f"stateEstimate.{axis}", "float")
    with SyncLogger(scf, block) as logger:
        _, values, _ = next(iter(logger))
    return tuple(values[f"stateEstimate.{axis}"] for axis in "xyz")  # type: ignore[return-value]


def report(what: str, scf: SyncCrazyflie, goal: tuple[float, float, float], within: float) -> bool:
    """Prints a line; whether the vehicle is where it should be."""
    here = where(scf)
    ok = math.dist(here, goal) < within
    print(f"{'ok  ' if ok else 'FAIL'} {what}: x {here[0]:.2f}, y {here[1]:.2f}, z {here[2]:.2f} m")
    return ok


def main(uri: str = "udp://127.0.0.1:19850") -> int:
    """Returns the exit code."""
    cflib.crtp.init_drivers()
    # Without a folder for the tables of contents cflib warns, and loads them anew every time.
    with SyncCrazyflie(uri, cf=Crazyflie(rw_cache=tempfile.gettempdir())) as scf:
        scf.cf.supervisor.send_arming_request(True)
        x, y, _ = where(scf)
        steps = []
        with PositionHlCommander(scf, x=x, y=y, default_velocity=0.5, default_height=HEIGHT) as pc:
            for dx, dy in ((SIDE, 0.0), (SIDE, SIDE), (0.0, SIDE), (0.0, 0.0)):
                pc.go_to(x + dx, y + dy)
                steps.append(report("corner", scf, (x + dx, y + dy, HEIGHT), 0.15))
        steps.append(report("landed", scf, (x, y, 0.0), 0.15))
        time.sleep(6.0)  # two seconds until it knows that it has landed, three more until it disarms by itself
        scf.cf.supervisor.send_arming_request(True)
        with MotionCommander(scf, default_height=HEIGHT) as mc:
            mc.forward(SIDE, velocity=0.4)
            mc.stop()
            steps.append(report("forward", scf, (x + SIDE, y, HEIGHT), 0.25))
            mc.back(SIDE, velocity=0.4)
        steps.append(report("landed again", scf, (x, y, 0.0), 0.25))
        scf.cf.supervisor.send_arming_request(False)
    return 0 if all(steps) else 1


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))

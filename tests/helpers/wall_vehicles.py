"""Emulated vehicles that follow the wall clock beside a test, for nodes in processes of their own to fly.

On a busy machine they catch up with the wall, however far behind: a vehicle's clock does not stand still.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from emulated_crazyflie import emulator
from px4_bench import free_port

from control_stack.algebra import body_axes
from control_stack.quadrotor.parameters import load_vehicle
from control_stack.types import QuadrotorState
from sim.config import SimulationConfig
from sim.emulators.crazyflie.server import UdpServer
from sim.emulators.px4 import PX4Emulator, PX4EmulatorOptions

TICK = 0.01  # s: coarser than the served ones, for machines that are busy


class _Pace:
    """Calls ``step`` with TICK once per TICK of wall time, in a thread; ``wait`` passes some of the time between."""

    def __init__(self, step: Callable[[float], None], wait: Callable[[float], None] = time.sleep):
        self._step, self._wait = step, wait
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        due = time.monotonic()
        while not self._end.is_set():
            self._step(TICK)
            due += TICK
            while (left := due - time.monotonic()) > 0.0:
                self._wait(left)

    def end(self) -> None:
        self._end.set()
        self._thread.join(5.0)


class WallCrazyflie:
    """An emulated Crazyflie. ``uri``: for the driver."""

    backend, vehicle = "crazyflie", "crazyflie"

    def __init__(self) -> None:
        self.firmware = emulator()
        self._server = UdpServer([self.firmware])
        self.uri = f"udp://127.0.0.1:{self._server.ports[0]}"
        self._pace = _Pace(self._server.advance, self._server.listen)

    @property
    def armed(self) -> bool:
        return self.firmware.supervisor.armed

    def truth(self) -> QuadrotorState:
        return self.firmware.vehicle.true_state()

    def arm_by_somebody_else(self) -> None:
        self.firmware.supervisor.arm(self.firmware.time, True)

    def close(self) -> None:
        self._pace.end()
        self._server.close()


class WallPX4:
    """An emulated PX4 vehicle. ``uri``: for the driver; ``second_uri``: for another one at the same time."""

    backend, vehicle = "px4", "x500"

    def __init__(self, simulation: SimulationConfig | None = None) -> None:
        port = free_port()
        self.emulator = PX4Emulator(load_vehicle("x500"), PX4EmulatorOptions(port=port), simulation)
        self.autopilot = self.emulator.autopilot
        self.uri = f"udpin:127.0.0.1:{port}"
        self.second_uri = f"udpout:127.0.0.1:{self.emulator.routes[0].port}"
        self._pace = _Pace(self.emulator.step)

    @property
    def armed(self) -> bool:
        return self.autopilot.armed

    @property
    def events(self) -> list[str]:
        return [name for _, name in self.autopilot.events]

    def truth(self) -> QuadrotorState:
        return self.emulator.quad.true_state()

    def arm_by_somebody_else(self) -> None:
        assert self.autopilot.arm()

    def close(self) -> None:
        self._pace.end()
        self.emulator.close()


WallVehicle = WallCrazyflie | WallPX4


def upright(vehicle: WallVehicle) -> bool:
    """Whether it stands, by the emulator's ground truth."""
    truth = vehicle.truth()
    up = body_axes(tuple(truth.quat_xyzw.tolist()))[2][2]  # type: ignore[arg-type]
    return bool(up > 0.98 and truth.position_w[2] < 0.2)

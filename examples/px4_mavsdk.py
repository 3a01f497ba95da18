"""Flies the emulated PX4 with MAVSDK-Python, a client that this project did not write.

    pip install -e '.[clients]'                   # in the clone; brings MAVSDK and MAVProxy
    control-stack sim serve --as px4              # in another terminal
    python examples/px4_mavsdk.py                 # or: python examples/px4_mavsdk.py udpin://127.0.0.1:14541

Takes off, flies to a point in offboard mode, leaves it, lands; prints what MAVSDK saw and exits with 0 if all of it
happened. The same script flies PX4's own simulation.
"""

from __future__ import annotations

import sys
import time

try:
    from mavsdk import ComponentType, Configuration, Mavsdk
    from mavsdk.plugins.action import Action
    from mavsdk.plugins.offboard import Offboard
    from mavsdk.plugins.offboard.offboard import PositionNedYaw
    from mavsdk.plugins.telemetry import Telemetry
except ImportError as error:
    raise SystemExit(f"{error.name} is missing: pip install -e '.[clients]' (in the clone)") from None

NORTH, EAST, DOWN = 1.0, 2.0, -2.5  # m


def until(done, limit: float) -> bool:
    """Waits; whether it came about within ``limit`` s."""
    end = time.monotonic() + limit
    while not done() and time.monotonic() < end:
        time.sleep(0.1)
    return bool(done())


def main(url: str = "udpin://127.0.0.1:14540") -> int:
    """Returns the exit code."""
    mavsdk = Mavsdk(Configuration.create_with_component_type(ComponentType.GROUND_STATION))
    mavsdk.add_any_connection(url)
    system = mavsdk.first_autopilot(10.0)
    if system is None:
        print(f"no autopilot on {url}", file=sys.stderr)
        return 1
    telemetry, action, offboard = Telemetry(system), Action(system), Offboard(system)

    def away() -> float:
        p = telemetry.position_velocity_ned().position
        return ((p.north_m - NORTH) ** 2 + (p.east_m - EAST) ** 2 + (p.down_m - DOWN) ** 2) ** 0.5

    def report(what: str, ok: bool) -> bool:
        p = telemetry.position_velocity_ned().position
        print(f"{'ok  ' if ok else 'FAIL'} {what}: north {p.north_m:.2f}, east {p.east_m:.2f}, down {p.down_m:.2f} m")
        return ok

    steps = [report("healthy", until(telemetry.health_all_ok, 20.0))]
    action.set_takeoff_altitude(2.0)
    action.arm()
    action.takeoff()
    steps.append(report("took off", until(lambda: telemetry.position().relative_altitude_m > 1.8, 15.0)))
    offboard.set_position_ned(PositionNedYaw(0.0, 0.0, -2.0, 0.0))
    offboard.start()
    offboard.set_position_ned(PositionNedYaw(NORTH, EAST, DOWN, 90.0))
    steps.append(report("flew to the point in offboard", until(lambda: away() < 0.2, 15.0)))
    offboard.stop()
    action.land()
    steps.append(report("landed and disarmed", until(lambda: not telemetry.armed(), 30.0)))
    mavsdk.destroy()
    return 0 if all(steps) else 1


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))

"""PX4 over MAVLink 2: offboard control, with the autopilot's own failsafes left in charge."""

from hardware.px4.config import PX4Config
from hardware.px4.vehicle import PX4Vehicle

__all__ = ["PX4Config", "PX4Vehicle"]

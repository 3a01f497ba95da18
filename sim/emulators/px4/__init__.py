"""The simulated quadrotor as a PX4-like autopilot: MAVLink 2 over UDP, on the loopback only unless told otherwise."""

from sim.emulators.px4.emulator import PX4Emulator
from sim.emulators.px4.options import PX4EmulatorOptions

__all__ = ["PX4Emulator", "PX4EmulatorOptions"]

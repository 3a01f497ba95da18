"""Crazyflie over cflib, on any link that cflib has."""

from hardware.crazyflie.vehicle import CrazyflieConfig, CrazyflieVehicle

__all__ = ["CrazyflieConfig", "CrazyflieVehicle"]

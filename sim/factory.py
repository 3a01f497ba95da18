"""Simulated vehicles by name."""

from __future__ import annotations

from control_stack.errors import UnknownName
from control_stack.quadrotor.parameters import QuadrotorParameters
from sim.analytic import AnalyticQuadrotor
from sim.bullet import BulletQuadrotor
from sim.config import SimulationConfig
from sim.quadrotor import SimulatedQuadrotor

BACKENDS: dict[str, type[SimulatedQuadrotor]] = {"analytic": AnalyticQuadrotor, "bullet": BulletQuadrotor}


def make_vehicle(backend: str, parameters: QuadrotorParameters, config: SimulationConfig) -> SimulatedQuadrotor:
    """The vehicle of a backend, not yet connected. Raises UnknownName (``connect``: MissingDependency)."""
    if backend not in BACKENDS:
        raise UnknownName("backend", backend, BACKENDS)
    return BACKENDS[backend](parameters, config)

"""The product's filter among other vehicles: crossings of ``lipschitz_crossing``, each vehicle with a ``SafetyFilter``
and a controller of its own at 100 Hz, with the scene's gain alone and with those that the shipped network asks for."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from control_stack.artefacts.tables import BenchRow, Findings
from control_stack.quadrotor.parameters import load_vehicle
from control_stack.safety.barrier.filter import Answer, Others, SafetyFilter
from control_stack.safety.barrier.pairs import HIGHEST
from control_stack.safety.barrier.scene import BarrierGains, Margin, Scene
from control_stack.safety.crossing.gains import Adapted
from control_stack.safety.crossing.setting import Crossing, start_of, wanted_velocity
from control_stack.types import Array, CommandLevel, QuadrotorState, Reference
from controllers.geometric import GeometricController
from sim.config import SimulationConfig
from sim.factory import make_vehicle

DT = 0.01  # s
_HEIGHT = 1.0  # m
_FIRST_SEED = 900_000  # nobody else's
_SEEDS = {False: 6, True: 1}


@dataclass(frozen=True)
class Flown:
    """One crossing. least: distance of centres, seen from above, m. time: s until all are there, infinite if they are
    not. calls: s of each call of a filter, the network's included. answers: of all filters."""

    least: float
    time: float
    calls: list[float]
    answers: dict[Answer, int]


class Flyer:
    """One vehicle on the analytic simulator: controller, filter, and its way through the crossing.

    Attributes:
        place, velocity: (3,) m, m/s, as measured; acceleration: that its filter tells the others, m/s^2.
    """

    def __init__(self, place: Array, goal: Array, push: Array, speed: float, crossing: Crossing, gain: float):
        parameters = load_vehicle("crazyflie")
        start = np.array([*place, _HEIGHT])
        self.goal, self._speed, self._crossing = np.array([*goal, _HEIGHT]), speed, crossing
        self.vehicle = make_vehicle("analytic", parameters, SimulationConfig(position_w=tuple(start)))
        self.vehicle.connect()
        hover = np.full(4, parameters.hover_rotor_speed)
        self.vehicle.reset(QuadrotorState(start, np.zeros(3), np.array([0.0, 0.0, 0.0, 1.0]), np.zeros(3), hover))
        self.vehicle.arm()
        self.vehicle.set_disturbance(float(parameters.mass) * np.array([*push, 0.0]), np.zeros(3))
        self._controller = GeometricController(parameters, CommandLevel.CTBR)
        margin, gains = Margin(distance=0.03, model=crossing.push), BarrierGains(distance=gain, speed=6.0)
        self.guard = SafetyFilter(Scene("crossing", margin=margin, gains=gains), parameters, 1.0 / DT)
        self.state = self.vehicle.state()

    def fly(self, others: Others, adapted: Adapted | None) -> float:
        """Decides and sends; returns s that the filter took."""
        p = self.state.position_w
        velocity = np.append(wanted_velocity((self.goal - p)[:2], np.array(self._speed)), 0.0)
        wish = Reference(np.array([p[0], p[1], _HEIGHT]), velocity)
        command = self._controller(self.state.stamp, self.state, wish)
        began = time.perf_counter()
        asked = others if adapted is None else adapted(self.state, others, self.goal)
        command = self.guard(self.state, command, asked)
        took = time.perf_counter() - began
        self.vehicle.send(command)
        return took


def fly(seed: int, crossing: Crossing, gain: float = HIGHEST, adapted: bool = False) -> Flown:
    """One crossing with the gain of the filters' scene, or with the network's beside it."""
    start = start_of(seed, crossing)
    flyers = [
        Flyer(start.place[i], start.goal[i], start.push[i], float(start.speed[i]), crossing, gain)
        for i in range(crossing.vehicles)
    ]
    network = Adapted(lag=flyers[0].guard.thrust.lag) if adapted else None
    least, arrived, calls = np.inf, np.inf, []
    for k in range(round(crossing.patience / DT)):
        p, v = (np.array([getattr(f.state, name) for f in flyers]) for name in ("position_w", "velocity_w"))
        a = np.array([f.guard.acceleration for f in flyers])
        for i, flyer in enumerate(flyers):
            near = np.linalg.norm((p - p[i])[:, :2], axis=-1) < crossing.sight
            near[i] = False
            others = Others(p[near], v[near], a[near], crossing.distance, horizontal=True)
            calls.append(flyer.fly(others, network))
        for flyer in flyers:
            flyer.vehicle.step(DT)
            flyer.state = flyer.vehicle.state()
        p = np.array([f.vehicle.true_state().position_w[:2] for f in flyers])
        apart = np.linalg.norm(p[:, None] - p, axis=-1) + np.diag(np.full(len(p), np.inf))
        least = min(least, float(apart.min()))
        if (np.linalg.norm(p - start.goal, axis=-1) < crossing.near).all():
            arrived = (k + 1) * DT
            break
    for flyer in flyers:
        flyer.vehicle.close()
    return Flown(least, arrived, calls, {a: sum(f.guard.counts[a] for f in flyers) for a in Answer})


def measure(seed: int, quick: bool) -> Findings:
    """Collisions, arrivals, times, and what a call takes."""
    crossing = Crossing(vehicles=4) if quick else Crossing()
    seeds = _FIRST_SEED + seed + np.arange(_SEEDS[quick])
    fixed = [fly(int(s), crossing) for s in seeds]
    adapted = [fly(int(s), crossing, adapted=True) for s in seeds]
    name = f"{crossing.vehicles} crossing, each behind the product's filter, {len(seeds)} paired seeds"
    rows = []
    for label, flights in ((f"scene's gain, {HIGHEST:g} 1/s", fixed), ("adapted gains", adapted)):
        calls = np.concatenate([f.calls for f in flights])
        arrived = np.array([np.isfinite(f.time) for f in flights])
        braked = sum(f.answers[Answer.FALLBACK] for f in flights)
        collided = float(sum(f.least < crossing.distance for f in flights))
        rows += [
            BenchRow(name, f"collisions, {label}", collided, "", "== 0"),
            BenchRow(name, f"least distance, {label}", 1e3 * min(f.least for f in flights), "mm"),
            BenchRow(name, f"all arrived, {label}", 100.0 * float(arrived.mean()), "%"),
            BenchRow(name, f"commands braked, {label}", 100.0 * braked / len(calls), "%"),
            BenchRow(name, f"filter call p50, {label}", 1e3 * float(np.percentile(calls, 50)), "ms"),
            BenchRow(name, f"filter call p99, {label}", 1e3 * float(np.percentile(calls, 99)), "ms"),
        ]  # fmt: skip
    details = {label: {"time_s": [f.time for f in flights], "least_m": [f.least for f in flights]}
               for label, flights in (("fixed", fixed), ("adapted", adapted))}  # fmt: skip
    return Findings(rows, {"vehicles": details})

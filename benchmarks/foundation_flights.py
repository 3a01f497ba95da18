"""The foundation policy in PyBullet, through its controller: wind, a payload that is dropped, a weak motor."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from control_stack.algebra import body_axes
from control_stack.artefacts.metrics import tracking_metrics
from control_stack.artefacts.tables import BenchRow
from control_stack.errors import InputRejected
from control_stack.quadrotor.parameters import QuadrotorParameters, load_vehicle, vehicle_names
from control_stack.trajectories import Lissajous
from control_stack.trajectories.hover import Hover
from control_stack.types import CommandLevel, QuadrotorState
from sim.config import SimulationConfig
from sim.factory import make_vehicle
from sim.quadrotor import SimulatedQuadrotor
from sim.wind import parse_wind

DT = 0.01  # s
START = (0.0, 0.0, 3.0)  # m: nothing here is about the ground
PAYLOAD, LOSS = 0.15, 0.2  # of the mass, of one motor's thrust
WIND = "1,0,0+dryden:light"
_EVENT = 3.0  # s
_HOVER, _FAST = 10.0, (3.0, 8.5)  # s; the eight's one lap is scored after its ramp
Build = Callable[[QuadrotorParameters], Any]


@dataclass(frozen=True)
class Case:
    """What is done to the vehicle: wind throughout, ``begin`` before the start, ``event`` at 3 s."""

    wind: str = "none"
    begin: Callable[[SimulatedQuadrotor], None] = lambda vehicle: None
    event: Callable[[SimulatedQuadrotor], None] = lambda vehicle: None


def _load(vehicle: SimulatedQuadrotor) -> None:
    below = np.array([0.0, 0.0, -vehicle.leg_height])
    vehicle.attach_payload(PAYLOAD * float(vehicle.parameters.mass), below)


CASES = {
    "undisturbed": Case(),
    f"wind {WIND}": Case(wind=WIND),
    f"payload of {100 * PAYLOAD:g} % dropped at {_EVENT:g} s": Case(begin=_load, event=lambda v: v.drop_payload()),
    f"{100 * LOSS:g} % loss of one motor at {_EVENT:g} s": Case(event=lambda v: v.set_rotor_loss(0, LOSS)),
}


def measure(ours: Build, peer: Build, geometric: Build, seed: int, quick: bool) -> list[BenchRow]:
    """RMSE of the three controllers on the shipped vehicles; quick: the first vehicle, hovering."""
    rows = []
    for name in vehicle_names()[: 1 if quick else None]:
        parameters = load_vehicle(name)
        for reference in ("hover",) if quick else ("hover", "eight, 5.5 s lap"):
            for case, what in CASES.items():
                test = f"PyBullet, {name}, {reference}, {case}"
                a, b, c = (fly(build, parameters, reference, what, seed) for build in (ours, peer, geometric))
                rows.append(BenchRow(test, "RMSE", a, "m", None, b))
                rows.append(BenchRow(test, "RMSE of the geometric controller", c, "m"))
    return rows


def fly(build: Build, parameters: QuadrotorParameters, reference: str, case: Case, seed: int) -> float:
    """RMSE of a flight that starts in the air, m; NaN for one that ends upside down or is given up.

    Hovering it is taken from the start to the end, on the eight over one lap.
    """
    config = SimulationConfig(seed=seed, position_w=START, wind=parse_wind(case.wind))
    vehicle = make_vehicle("bullet", parameters, config)
    vehicle.connect()
    try:
        rest = np.zeros(3)
        rotors = np.full(4, parameters.hover_rotor_speed)
        upright = np.array([0.0, 0.0, 0.0, 1.0])
        vehicle.reset(QuadrotorState(np.array(START), rest, upright, rest, rotors, 0.0))
        vehicle.arm()
        case.begin(vehicle)
        path = Hover(START) if reference == "hover" else Lissajous(START, lap=5.5, laps=1)
        interval, end = (None, _HOVER) if reference == "hover" else (_FAST, _FAST[1])
        flown = _follow(vehicle, build(parameters), path, case, round(end / DT))
        up = float(body_axes(tuple(vehicle.true_state().quat_xyzw.tolist()))[2][2])
    finally:
        vehicle.close()
    t, position, wanted = (np.array(column) for column in zip(*flown, strict=True))
    if up < 0.0 or len(t) < round(end / DT):
        return float("nan")
    return tracking_metrics(t, position, wanted, interval)["position_rmse_m"]


def _follow(
    vehicle: SimulatedQuadrotor, controller: Any, path: Any, case: Case, steps: int
) -> Sequence[tuple[float, Any, Any]]:
    """(time, position, wanted position) of each period, up to where the controller gave up."""
    flown = []
    for k in range(steps):
        if k == round(_EVENT / DT):
            case.event(vehicle)
        state = vehicle.state()
        reference = path(state.stamp)
        try:
            vehicle.send(controller(state.stamp, state, reference))
        except InputRejected:
            break
        flown.append((state.stamp, vehicle.true_state().position_w, reference.position_w))
        vehicle.step(DT)
    return flown


def at_rotors(controller: Any) -> Build:
    """Builds a controller class at rotor level."""
    return lambda parameters: controller(parameters, CommandLevel.ROTORS)

"""The closed-loop tests that policies are chosen and compared by, each on airframes drawn from its own seed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from control_stack.errors import UnknownName
from control_stack.foundation.airframes import (
    LAWS,
    Airframes,
    Conditions,
    calm,
    crazyflie_preset,
    sample,
    sample_conditions,
)
from control_stack.foundation.observation import BARE, LONGEST_LEAD, NO_LEAD, Lead, Wrapper
from control_stack.foundation.training.episodes import Waves, eights, hover, starts
from control_stack.foundation.training.evaluation import Flight, Pilot, fly
from control_stack.foundation.training.simulator import Fleet

RAMP = 3.0  # s, after which an eight's lap is scored


@dataclass(frozen=True)
class Test:
    """One test.

    Attributes:
        seconds, scored: Length of the flight and of its scored end, s.
        lap: Of the figure-eight, s; None hovers.
        law: Airframe law. agility: Its torque/inertia narrowed to this range. preset: RAPTOR's Crazyflie instead.
        random_force: Force by the law, else none.
        sideways: Force along x / weight. velocity_delay: s. noise: Factor on the unit noise.
        all_conditions: Everything that the law varies (the wide law).
    """

    seconds: float = 5.0
    scored: float = 1.0
    lap: float | None = None
    law: str = "raptor"
    agility: tuple[float, float] | None = None
    preset: bool = False
    random_force: bool = False
    sideways: float = 0.0
    velocity_delay: float = 0.0
    noise: float = 0.0
    all_conditions: bool = False

    def airframes(self, count: int, rng: np.random.Generator) -> Airframes:
        """Those that fly it."""
        if self.preset:
            return crazyflie_preset()[np.zeros(count, dtype=int)]
        law = LAWS[self.law]
        return sample(replace(law, torque_to_inertia=self.agility) if self.agility else law, count, rng)

    def conditions(self, airframes: Airframes, rng: np.random.Generator) -> Conditions:
        """What they fly under."""
        if self.random_force or self.all_conditions:
            return sample_conditions(LAWS[self.law], airframes, rng)
        still = calm(airframes)
        n = len(airframes)
        force = np.zeros((3, n))
        force[0] = self.sideways * airframes.weight
        return replace(
            still, force_w=force, velocity_delay=np.full(n, self.velocity_delay), noise=np.full(n, self.noise)
        )

    def reference(self, count: int) -> Waves:
        """What they follow."""
        return hover(count) if self.lap is None else eights(count, self.lap, ramp=RAMP)


def _eight(lap: float, preset: bool = False) -> Test:
    return Test(seconds=RAMP + lap, scored=lap, lap=lap, preset=preset)


TESTS = {
    "hover, random force": Test(random_force=True),
    "hover, calm": Test(seconds=5.0, scored=1.0),
    "hover, calm, after 2 s": Test(scored=3.0),
    "hover, sensor noise, after 2 s": Test(scored=3.0, noise=1.0),
    "hover 50 s": Test(seconds=50.0),
    "torque/inertia 40-100": Test(agility=(40.0, 100.0)),
    "eight, 10 s lap": _eight(10.0),
    "eight, 5.5 s lap": _eight(5.5),
    "sideways force 10 %": Test(sideways=0.1),
    "sideways force 30 %": Test(sideways=0.3),
    "velocity delay 20 ms": Test(velocity_delay=0.02),
    "velocity delay 40 ms": Test(velocity_delay=0.04),
    "velocity delay 80 ms": Test(velocity_delay=0.08),
    "Crazyflie preset, hover": Test(preset=True),
    "Crazyflie preset, eight, 10 s lap": _eight(10.0, preset=True),
    "Crazyflie preset, eight, 5.5 s lap": _eight(5.5, preset=True),
    "wide law, hover": Test(law="wide", all_conditions=True),
}


def fly_test(
    name: str, pilot: Pilot, count: int, seed: int, *, wrapper: Wrapper = BARE,
    clamped_feedback: bool = False, any_rotors: bool = False, airframes: Airframes | None = None,
    dtype: torch.dtype = torch.float32, method: str = "rk4",
) -> tuple[Flight, Airframes]:  # fmt: skip
    """Flies one of TESTS on ``count`` airframes drawn from ``seed``.

    Args:
        wrapper: Limits on the errors, and lead.
        clamped_feedback: The previous action is limited to -1..1 before it is fed back, as PX4's module does.
        any_rotors: Rotors start at any speed, each its own, instead of at hover.
        airframes: Fly these ``count`` instead of drawing them.

    Raises:
        UnknownName: No such test.
    """
    if name not in TESTS:
        raise UnknownName("test", name, TESTS)
    test = TESTS[name]
    rng, generator = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
    airframes = test.airframes(count, rng) if airframes is None else airframes
    conditions = test.conditions(airframes, rng)
    fleet = Fleet.of(airframes, conditions, dtype=dtype)
    x = starts(count, generator, None if any_rotors else torch.as_tensor(airframes.hover_speed)).to(dtype)
    flight = fly(
        pilot,
        fleet,
        x,
        test.reference(count),
        round(test.seconds * 100),
        round(test.scored * 100),
        generator=generator if np.any(conditions.noise > 0.0) else None,
        shape=_shape(wrapper, clamped_feedback),
        lead=wrapper.lead,
        method=method,
    )
    return flight, airframes


LED = ("eight, 5.5 s lap", "eight, 10 s lap")
_PROBE = Lead(0.02, 0.01, 0.005, 0.03)  # a change of each number that moves a vehicle by centimetres
_ROUNDS = 4


def best_lead(pilot: Pilot, count: int, seed: int, wrapper: Wrapper | None = None) -> Lead:
    """The lead with which eights, fast and slow, are flown most precisely.

        min sum over laps of mean_i RMSE_i(lead) / mean_i RMSE_i(none),   i the airframes, losses LOST_ERROR

    Gauss-Newton steps: how each number moves every vehicle at every instant is told by a flight with a little more
    of it, and airframes are weighted by 1 / RMSE, so that the squares that a step minimises are the means asked
    for. A step that does not help is halved, twice at most, and ends the search if it still does not.
    """

    def flights(lead: Lead) -> list[Flight]:
        led = replace(wrapper or Wrapper(), lead=lead)
        return [fly_test(name, pilot, count, seed, wrapper=led, method="semi_implicit")[0] for name in LED]

    def error(flown: list[Flight]) -> float:
        return sum(float(flight.rmse.mean()) / scale for flight, scale in zip(flown, scales, strict=True))

    lead, flown = NO_LEAD, flights(NO_LEAD)
    scales = [float(flight.rmse.mean()) for flight in flown]
    for _ in range(_ROUNDS):
        step = _lead_step(lead, flown, flights, scales)
        for share in (1.0, 0.5, 0.25):
            new = Lead(*(max(-LONGEST_LEAD, min(n + share * d, LONGEST_LEAD)) for n, d in zip(lead, step, strict=True)))
            tried = flights(new)
            if error(tried) < error(flown):
                break
        else:
            break
        lead, flown = new, tried
    return Lead(*(round(number, 4) for number in lead))


def _lead_step(
    lead: Lead, flown: list[Flight], flights: Callable[[Lead], list[Flight]], scales: list[float]
) -> list[float]:
    """(4,) a Gauss-Newton step of the lead."""
    moved = []
    for k, probe in enumerate(_PROBE):
        moved.append([*flights(Lead(*(n + probe * (k == j) for j, n in enumerate(lead))))])
    size = len(_PROBE)
    hessian, slope = torch.zeros(size, size, dtype=torch.float64), torch.zeros(size, dtype=torch.float64)
    for lap, (flight, scale) in enumerate(zip(flown, scales, strict=True)):
        both = torch.stack([flight.survived, *(other[lap].survived for other in moved)]).all(0)
        if not both.any():
            continue
        offset = flight.offset[..., both].double()
        weight = 1.0 / (scale * flight.rmse[both].double() * offset[:, 0].numel())
        jacobian = torch.stack(
            [
                (other[lap].offset[..., both].double() - offset) / probe
                for other, probe in zip(moved, _PROBE, strict=True)
            ]
        )
        hessian += torch.einsum("itan,jtan,n->ij", jacobian, jacobian, weight)
        slope += torch.einsum("itan,tan,n->i", jacobian, offset, weight)
    if not torch.linalg.det(hessian) > 0.0:
        return [0.0] * size
    return (-torch.linalg.solve(hessian, slope)).tolist()


def _shape(wrapper: Wrapper, clamped_feedback: bool) -> Callable[[Tensor], Tensor] | None:
    """What stands between the observation and the policy: the wrapper's limits, axis by axis."""
    position, velocity = wrapper.position_limit, wrapper.velocity_limit
    if position == velocity == torch.inf and not clamped_feedback:
        return None
    action = 1.0 if clamped_feedback else torch.inf

    def shape(observation: Tensor) -> Tensor:
        p, rotation, v, rate, previous = observation.split((3, 9, 3, 3, 4))
        p, v, previous = p.clamp(-position, position), v.clamp(-velocity, velocity), previous.clamp(-action, action)
        return torch.cat([p, rotation, v, rate, previous])

    return shape

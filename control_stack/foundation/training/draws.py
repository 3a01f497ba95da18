"""What training flies: the airframes and the conditions of new episodes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from control_stack.foundation.airframes import (
    LAWS,
    Airframes,
    Conditions,
    calm,
    concatenate,
    sample,
    sample_conditions,
)

# Slow airframes (torque/inertia, rad/s^2) are a seventh of the law and nearly all of its losses: their shares, and
# those for a policy that is nearly done.
Shares = Mapping[tuple[float, float], float]
SLOW: Shares = {(38.0, 100.0): 0.25, (100.0, 200.0): 0.15}
SLOWEST: Shares = {(38.0, 75.0): 0.3, (75.0, 150.0): 0.15}


def training_airframes(count: int, rng: np.random.Generator, slow: Shares = SLOW) -> Airframes:
    """RAPTOR's law with edges a little wider than what is tested, and more of the slow airframes."""
    law = replace(LAWS["raptor"], thrust_to_weight=(1.4, 5.0), torque_constant=(0.004, 0.05))
    sizes = {span: round(share * count) for span, share in slow.items()}
    parts = [sample(replace(law, torque_to_inertia=span), size, rng) for span, size in sizes.items() if size]
    parts.append(sample(law, count - sum(sizes.values()), rng))
    return concatenate(parts)[rng.permutation(count)]


def training_conditions(airframes: Airframes, rng: np.random.Generator, sensors: bool) -> Conditions:
    """A third calm, a third RAPTOR's random force, a third up to 33 % of the weight any way; for a student also
    velocity delays of 0..80 ms (45 % of vehicles) and sensor noise (half of them)."""
    n = len(airframes)
    law = sample_conditions(LAWS["raptor"], airframes, rng)
    strong = sample_conditions(replace(LAWS["raptor"], force=(0.0, 0.33)), airframes, rng)
    pick = rng.uniform(size=n)
    force = np.where(pick < 0.33, 0.0, np.where(pick < 0.67, law.force_w, strong.force_w))
    conditions = replace(calm(airframes), force_w=force)
    if not sensors:
        return conditions
    delayed = rng.uniform(size=n) < 0.45
    return replace(
        conditions,
        velocity_delay=np.where(delayed, np.minimum(rng.uniform(0.0, 0.085, size=n), 0.08), 0.0),
        noise=np.where(rng.uniform(size=n) < 0.5, rng.uniform(0.0, 1.0, size=n), 0.0),
    )


@dataclass(frozen=True)
class Anyone:
    """Every episode has a new airframe. ``sensors``: with delays and noise. ``slow``: Shares of slow airframes."""

    sensors: bool
    slow: Shares = field(default_factory=lambda: SLOW)

    def __call__(self, count: int, rng: np.random.Generator) -> tuple[Airframes, Conditions]:
        """Draws them."""
        airframes = training_airframes(count, rng, self.slow)
        return airframes, training_conditions(airframes, rng, self.sensors)


@dataclass(frozen=True)
class Own:
    """Vehicle k always has airframe k // (count / number of airframes)."""

    airframes: Airframes
    sensors: bool

    def __call__(self, count: int, rng: np.random.Generator) -> tuple[Airframes, Conditions]:
        """Draws the conditions."""
        own = self.airframes[np.repeat(np.arange(len(self.airframes)), count // len(self.airframes))]
        return own, training_conditions(own, rng, self.sensors)

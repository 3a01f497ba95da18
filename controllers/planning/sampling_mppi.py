"""Model predictive path integral control.

    u <- sum_i w_i u_i,   w_i ~ exp(-(J_i - min J) / lambda)

Source: Williams et al., "Information theoretic MPC for model-based reinforcement learning", ICRA 2017. Two things
differ. lambda is ``temperature`` times the lower quartile of J - min J in the round, so that one setting serves far
from the goal and near it, and what breaks a constraint does not set the scale. The cost of control that the importance
weights add is left out (their alpha is 1): what an input costs is for the problem to say.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from control_stack.errors import InvalidInput
from control_stack.types import Array
from controllers.planning.sampling import Sampler, Seen, Settings
from controllers.planning.sampling_noise import coloured


@dataclass(frozen=True)
class MPPISettings(Settings):
    """Of MPPI.

    Attributes:
        temperature: 0 takes the best candidate alone, infinity their plain mean.
        narrowing: Factor of the spread from round to round.
    """

    temperature: float = 0.05
    narrowing: float = 0.7

    SPACE: ClassVar[Mapping[str, tuple[float, float, bool]]] = {
        **Settings.SPACE,
        "temperature": (0.003, 1.0, True),
        "narrowing": (0.3, 1.0, False),
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.temperature >= 0.0 or not 0.0 < self.narrowing <= 1.0:
            raise InvalidInput(
                f"MPPI: temperature at least 0, narrowing above 0 to 1; got {self.temperature}, {self.narrowing}"
            )


class MPPI(Sampler):
    """Normal draws about the mean, which moves to their weighted mean."""

    settings: MPPISettings

    def _begin(self, mean: Array) -> None:
        self._at, self._spread = mean, self.settings.spread

    def _draw(self, rng: np.random.Generator, size: int) -> Array:
        return self._at + self._spread * coloured(rng, self.settings.beta, size, *self._at.shape)

    def _move(self, seen: Seen) -> None:
        self._at = np.tensordot(weights(seen.score, self.settings.temperature), seen.z, 1)
        self._spread *= self.settings.narrowing

    def _mean(self) -> Array:
        return self._at


def weights(score: Array, temperature: float) -> Array:
    """(S,) with sum 1, of scores (S,): the module's w, in which equal best ones share all at temperature 0."""
    above = score - score.min()
    quartile = float(np.quantile(above, 0.25))
    scale = temperature * quartile if quartile > 0.0 else 0.0
    found = np.exp(-above / scale) if scale > 0.0 else (above == 0.0).astype(float)
    return np.asarray(found / found.sum())

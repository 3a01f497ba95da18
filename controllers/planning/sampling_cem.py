"""The cross-entropy method, plain and in the form of Pinneri et al.

CEM: Rubinstein, "The cross-entropy method for combinatorial and continuous optimization", 1999. iCEM: Pinneri et al.,
"Sample-efficient cross-entropy method for real-time planning", CoRL 2020.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from control_stack.errors import InvalidInput
from control_stack.types import Array
from controllers.planning.problem import shifted
from controllers.planning.sampling import _LAST, Sampler, Seen, Settings, divided
from controllers.planning.sampling_noise import coloured

_LEAST_SPREAD = 1e-3


@dataclass(frozen=True)
class CEMSettings(Settings):
    """Of CEM.

    Attributes:
        elites: Share of a round's candidates that mean and spread are taken from.
        inertia: Share of the old mean and spread that is kept in a move.
    """

    elites: float = 0.1
    inertia: float = 0.1

    SPACE: ClassVar[Mapping[str, tuple[float, float, bool]]] = {
        **Settings.SPACE,
        "elites": (0.02, 0.3, True),
        "inertia": (0.0, 0.5, False),
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0.0 < self.elites <= 1.0 or not 0.0 <= self.inertia < 1.0:
            raise InvalidInput(
                f"CEM: elites above 0 to 1, inertia from 0 to below 1; got {self.elites}, {self.inertia}"
            )

    def elite_count(self, size: int) -> int:
        """Of a round of this size; at least two, which a spread needs."""
        return min(max(round(self.elites * size), 2), size)


class CEM(Sampler):
    """Normal draws, independent but for the colour of the noise; mean and spread follow the elites of each round."""

    settings: CEMSettings

    def _begin(self, mean: Array) -> None:
        self._at, self._spread = mean, np.full(mean.shape, self.settings.spread)

    def _draw(self, rng: np.random.Generator, size: int) -> Array:
        return self._at + self._spread * coloured(rng, self.settings.beta, size, *self._at.shape)

    def _move(self, seen: Seen) -> None:
        elites = self._elites(seen)
        keep = self.settings.inertia
        self._at = keep * self._at + (1.0 - keep) * elites.z.mean(axis=0)
        self._spread = np.maximum(keep * self._spread + (1.0 - keep) * elites.z.std(axis=0), _LEAST_SPREAD)

    def _elites(self, seen: Seen) -> Seen:
        chosen = np.argsort(seen.score, kind="stable")[: self.settings.elite_count(len(seen.score))]
        return Seen(seen.z[chosen], seen.score[chosen])

    def _mean(self) -> Array:
        return self._at


@dataclass(frozen=True)
class ICEMSettings(CEMSettings):
    """Of iCEM.

    Attributes:
        kept: Share of the elites that stay in the next round, and in the next call, shifted by a step.
        decay: Each round has this much fewer candidates than the one before.
    """

    iterations: int = 5
    beta: float = 2.0
    kept: float = 0.3
    decay: float = 1.25

    SPACE: ClassVar[Mapping[str, tuple[float, float, bool]]] = {
        **CEMSettings.SPACE,
        "kept": (0.1, 0.6, False),
        "decay": (1.0, 2.0, False),
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0.0 <= self.kept <= 1.0 or not self.decay >= 1.0:
            raise InvalidInput(f"iCEM: kept from 0 to 1, decay at least 1; got {self.kept}, {self.decay}")

    def sizes(self) -> list[int]:
        """Falling by ``decay`` from round to round."""
        return divided(self.rollouts - _LAST, self.decay ** -np.arange(self.iterations, dtype=float))


class ICEM(CEM):
    """CEM with coloured noise, fewer candidates each round, and elites that are kept: for the next round without
    rolling them out again, for the next call shifted by a step, as plans from the state that follows."""

    settings: ICEMSettings

    def reset(self) -> None:
        """Forgets the elites as well."""
        super().reset()
        self._old: Seen | None = None

    def _begin(self, mean: Array) -> None:
        super()._begin(mean)
        self._old = None

    def _move(self, seen: Seen) -> None:
        if self._old is not None:
            seen = Seen(np.concatenate([seen.z, self._old.z]), np.concatenate([seen.score, self._old.score]))
        super()._move(seen)
        elites = self._elites(seen)
        kept = round(self.settings.kept * len(elites.score))
        self._old = Seen(elites.z[:kept], elites.score[:kept])

    def _carried(self) -> Array:
        return super()._carried() if self._old is None else shifted(self._old.z)

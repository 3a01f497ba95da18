"""Settings of a fit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from control_stack.errors import InvalidInput
from control_stack.learning.lagrangian.structures import BLACK_BOXES, STRUCTURES

CONTEXTS = ("filter", "gru", "oracle", "none")
# What suits black boxes: without regressors to begin from they need many updates, and shorter chunks give more of them
# in the same time (after 6 s of CPU their loss was 0.22 with 10 periods and 0.34 with 50).
BLACK_BOX: dict[str, Any] = {"hidden": (64, 64), "chunk": 10}


@dataclass(frozen=True)
class Recipe:
    """Of a fit. A folder never mixes two.

    Attributes:
        structure: One of ``structures.STRUCTURES`` or ``BLACK_BOXES``.
        context: Where z comes from: "filter" or "gru" (``cells``, trained end to end with the model), "oracle" (the
            simulation's loads and frictions, normalised) or "none" (always 0).
        contexts: nz; of "oracle" the labels' number, of "none" 1.
        seed: Of everything.
        rounds: Updates are counted in rounds: a batch of episodes from end to end, in chunks with an update each.
        batch: Episodes in a round. chunk: Periods in an update.
        rate: Of Adam at the start; it falls to 0 as half a cosine.
        ahead: Periods after which a context must explain the torques.
        hidden: Of the networks of the structures that have some.
        draws: Of the sensors' noise, where the data comes without.
        shares: Of the episodes for training, for choosing, and for figures.
    """

    structure: str = "flange"
    context: str = "filter"
    contexts: int = 18
    seed: int = 0
    rounds: int = 150
    batch: int = 32
    chunk: int = 50
    rate: float = 3e-3
    ahead: tuple[int, ...] = (1, 4, 12)
    hidden: tuple[int, ...] = (30, 20)
    draws: int = 2
    shares: tuple[float, float, float] = (0.8, 0.1, 0.1)

    def __post_init__(self) -> None:
        if self.structure not in (*STRUCTURES, *BLACK_BOXES) or self.context not in CONTEXTS:
            raise InvalidInput(f"structure {self.structure} or context {self.context} is not known")
        if self.context == "filter" and self.structure != "flange":
            raise InvalidInput(
                f"the filter needs torques that are linear in the context: not those of {self.structure}"
            )
        for name in ("contexts", "rounds", "batch", "chunk", "draws"):
            if getattr(self, name) < 1:
                raise InvalidInput(f"{name} must be at least 1, got {getattr(self, name)}")

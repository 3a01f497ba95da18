"""What is imitated: one in 20 of an expert's pairs, with the returns that scores are measured by.

    score = (return - random) / (expert - random)

A file of another task or of other spaces is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from control_stack.artefacts import tensors as artefact
from control_stack.errors import InvalidInput
from control_stack.learning.imitation.policy_file import CLIP, Scales, check_spaces, spaces
from control_stack.learning.imitation.tasks import Lanes, Mask, Policy, episodes, task_named
from control_stack.types import Array

FORMAT = "control-stack demonstrations, 1"
THINNING = 20  # one pair in this many
_SEED, _RANDOM_SEED = 60_000, 70_000  # of the shown and of the random episodes
_RETURNS = 20  # episodes that the returns of expert and chance are the means of
_LEAST, _SHARE = 1e-3, 0.1  # least size of a channel, and as a part of the span of chance and expert
_WHAT = "demonstrations"


@dataclass(frozen=True)
class Demonstrations:
    """Of one task.

    Attributes:
        observations: (K, n) in the task's units. actions: (K, m) in -1..1.
        scales: For networks: the expert's spread, widened where it is narrow beside that of chance.
        expert, chance: Mean returns.
        card: As it lies on disk.
    """

    observations: Array
    actions: Array
    scales: Scales
    expert: float
    chance: float
    card: Mapping[str, Any]

    def score(self, returns: Array) -> Array:
        """0 for chance, 1 for the expert."""
        return (returns - self.chance) / (self.expert - self.chance)

    def pairs(self) -> Array:
        """(K, n + m) float32, observations scaled."""
        return np.concatenate([self.scales(self.observations), self.actions.astype(np.float32)], axis=1)


def collect(
    path: Path, name: str, expert: Callable[[Lanes], Policy], told: Mapping[str, Any], seed: int
) -> Demonstrations:
    """Lets an expert and chance act, and writes what is shown.

    Args:
        path: Of the file, .safetensors. name: Of the task.
        expert: Lanes -> what acts in them, from the start of its episodes.
        told: About the expert, for the card. seed: Of the random actions.

    Raises:
        InvalidInput: The expert is no better than chance.
    """
    task = task_named(name)
    shown = task.make(task.shown)
    rows: list[list[Array]] = [[] for _ in range(task.shown)]

    def watch(seen: Array, actions: Array, running: Mask) -> None:
        for lane in np.flatnonzero(running):
            rows[lane].append(np.concatenate([seen[lane], actions[lane]]))

    episodes(task, shown, _SEED + np.arange(task.shown), expert(shown), watch)
    # Each episode is thinned from another place, so that no phase of a gait is always left out.
    thinned = np.concatenate([np.stack(part)[k % THINNING :: THINNING] for k, part in enumerate(rows)])
    random = np.random.default_rng([seed, 13])
    states: list[Array] = []
    lanes, seeds = task.make(_RETURNS), _RANDOM_SEED + np.arange(_RETURNS)

    def chance(seen: Array) -> Array:
        return random.uniform(-1.0, 1.0, (len(seen), len(task.action)))

    by_chance = episodes(task, lanes, seeds, chance, lambda seen, _, running: states.append(seen[running]))
    by_expert = episodes(task, lanes, seeds, expert(lanes))
    if by_expert.mean() <= by_chance.mean():
        raise InvalidInput(f"the expert of '{name}' ({by_expert.mean():.4g}) is no better than chance")
    n = len(task.observation)
    expert_states = np.concatenate([np.stack(part) for part in rows])[:, :n]
    mean, scale = _moments(expert_states, np.concatenate(states))
    card = {
        "format": FORMAT, "task": name, **spaces(task), "one_in": THINNING, "episodes": task.shown,
        "expert": dict(told), "expert_returns": by_expert.tolist(), "chance_returns": by_chance.tolist(), "seed": seed,
    }  # fmt: skip
    tensors = {"observations": thinned[:, :n], "actions": thinned[:, n:], "mean": mean, "scale": scale}
    artefact.write(path, tensors, card, _WHAT)
    return load(path, name)


def load(path: str | Path, name: str) -> Demonstrations:
    """Demonstrations of the task ``name``.

    Raises:
        InvalidInput: No such file, another kind of file, another task, other spaces, or values that nothing can be
            learned from.
    """
    tensors, card = artefact.read(path, _WHAT)
    if card.get("format") != FORMAT:
        raise InvalidInput(f"{path}: its card is not of the format '{FORMAT}'")
    check_spaces(path, card, name)
    task = task_named(name)
    try:
        seen, done, mean, scale = (tensors[key] for key in ("observations", "actions", "mean", "scale"))
        returns = [float(np.mean(card[key])) for key in ("expert_returns", "chance_returns")]
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidInput(f"{path}: incomplete: {error}") from None
    n, m = len(task.observation), len(task.action)
    if (
        seen.ndim != 2
        or seen.shape[1] != n
        or done.shape != (len(seen), m)
        or mean.shape != (n,)
        or scale.shape != (n,)
    ):
        raise InvalidInput(
            f"{path}: other spaces: observations {seen.shape} and actions {done.shape}; '{name}' needs (K, {n}) and "
            f"(K, {m})"
        )
    if not len(seen) or not all(np.isfinite(a).all() for a in (seen, done, mean, scale)) or not (scale > 0.0).all():
        raise InvalidInput(f"{path}: demonstrations must be there and finite, scales above 0")
    if np.abs(done).max() > 1.0 + 1e-6:
        raise InvalidInput(f"{path}: actions must lie in -1..1, found {np.abs(done).max():.4g}")
    if not returns[0] > returns[1]:
        raise InvalidInput(f"{path}: the expert's return {returns[0]:.4g} is not above that of chance")
    return Demonstrations(seen, done, Scales(mean, scale, CLIP), returns[0], returns[1], card)


def _moments(expert: Array, chance: Array) -> tuple[Array, Array]:
    """Middle and size of every channel: the expert's, no size below a tenth of what chance and expert span together.

    An expert that balances hardly moves: scaled by chance, all that it does would be one point to a discriminator whose
    slope is held.
    """
    mixture = np.sqrt(0.5 * (expert.var(0) + chance.var(0)) + 0.25 * (expert.mean(0) - chance.mean(0)) ** 2)
    return expert.mean(0), np.maximum.reduce([expert.std(0), _SHARE * mixture, np.full(expert.shape[1], _LEAST)])

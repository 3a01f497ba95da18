"""The arms of the study: what each learner is rewarded by, and how its discriminator is held back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from control_stack.errors import InvalidInput, UnknownName


@dataclass(frozen=True)
class Arm:
    """One way to learn from demonstrations.

    Attributes:
        label: In tables and pictures.
        acts: Learns by acting in the task; the one that does not clones the demonstrations.
        judged: Rewarded by a discriminator of its own; one that acts and is not judged gets a constant.
        spectral: The discriminator's weights are divided by their spectral norms.
        penalty: Slopes of the discriminator above 1 are penalised.
    """

    label: str
    acts: bool = True
    judged: bool = True
    spectral: bool = False
    penalty: bool = False


ARMS = {
    "cloning": Arm("behavioural cloning", acts=False, judged=False),
    "none": Arm("no regulariser"),
    "spectral": Arm("spectral norm", spectral=True),
    "penalty": Arm("gradient penalty", penalty=True),
    "both": Arm("penalty and spectral norm", spectral=True, penalty=True),
    "constant": Arm("constant reward", judged=False),
}


@dataclass(frozen=True)
class Member:
    """One learner of a stack: an arm and the seed of its weights, draws and episodes."""

    arm: str
    seed: int

    @property
    def rules(self) -> Arm:
        """What its arm prescribes."""
        return ARMS[self.arm]


def members(arms: Sequence[str], seed: int, seeds: int) -> tuple[Member, ...]:
    """Every arm with every seed, those that act first (the order of a stack).

    Raises:
        UnknownName: No such arm. InvalidInput: No arm, one named twice, or no seed.
    """
    for arm in arms:
        if arm not in ARMS:
            raise UnknownName("arm", arm, ARMS)
    if not arms or len(set(arms)) != len(arms):
        raise InvalidInput(f"arms are named once each, got {', '.join(arms) or 'none'}")
    if seeds < 1:
        raise InvalidInput(f"--seeds must be at least 1, got {seeds}")
    found = [Member(arm, seed + k) for arm in ARMS if arm in arms for k in range(seeds)]
    return tuple(sorted(found, key=lambda member: not member.rules.acts))

"""The loop of a stack: all members act, remember and learn in step; it goes on exactly where it was stopped.

Episodes, draws and first weights follow from a member's seed and the step alone, so a member learns the same in any
stack, up to the rounding of batched products.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file

from control_stack.foundation.training import checkpoints
from control_stack.learning.imitation.agent import Agents, Sizes
from control_stack.learning.imitation.arms import Member
from control_stack.learning.imitation.demonstrations import Demonstrations
from control_stack.learning.imitation.draws import Draws
from control_stack.learning.imitation.policy_file import Policies
from control_stack.learning.imitation.replay import Replay
from control_stack.learning.imitation.tasks import Lanes, Task, episodes
from control_stack.types import Array

_JUDGE_SEED = 80_000  # of the episodes of the learning curves


@dataclass(frozen=True)
class Recipe:
    """Of a training.

    Attributes:
        steps: Of every learner, in all copies of its task. batch: Pairs of an update, one update a step of the copies.
        width: Of the hidden layers. capacity: Transitions that a memory holds.
        lookahead, gamma: Steps of the returns, and their discount a step.
        rate: Of actors and critics; four times the paper's, as there is one update for several steps.
        noise: Standard deviation of exploration, actions being -1..1.
        warmup: Steps of random actions before learning.
        judged: Evaluations over the training. rounds: Episodes of each.
    """

    steps: int
    batch: int = 64
    width: int = 64
    capacity: int = 100_000
    lookahead: int = 10
    gamma: float = 0.99
    rate: float = 1e-3
    noise: float = 0.1
    warmup: int = 1000
    judged: int = 20
    rounds: int = 5


Report = Callable[[int, dict[str, Any] | None], None]  # (steps, a record of the course or None)


class Trainer:
    """A stack in its task.

    Args:
        report: Called after every step of the copies, with a record where the policies were judged:
            {"steps", "seconds", "scores": one for each member, the mean of its episodes}.
    """

    def __init__(
        self, task: Task, members: Sequence[Member], shown: Demonstrations, recipe: Recipe, report: Report
    ):  # fmt: skip
        self.task, self.members, self.recipe = task, tuple(members), recipe
        self._shown, self._report = shown, report
        self.sizes = Sizes(len(task.observation), len(task.action), recipe.width)
        pairs = torch.from_numpy(shown.pairs())
        self.agents = Agents(members, self.sizes, pairs, recipe.lookahead, recipe.gamma, recipe.rate)
        acting, copies = self.agents.acting, task.copies
        self._draws = Draws([member.seed for member in members], copies, recipe.batch, self.sizes.action)
        self.replay = Replay(recipe.capacity, acting, copies, self.sizes.observation, self.sizes.action)
        self._lanes: Lanes | None = task.make(acting * copies) if acting else None
        self._judge = task.make(len(members) * recipe.rounds)
        self._clock = np.zeros(acting * copies, dtype=np.int64)
        self._episode = np.zeros(acting * copies, dtype=np.int64)
        self.turn, self.seconds = 0, 0.0
        self.course: list[dict[str, Any]] = []
        self._seen = np.zeros((acting * copies, self.sizes.observation))
        if self._lanes is not None:
            for lane in range(acting * copies):
                self._seen[lane] = self._begin(self._lanes, lane)

    @property
    def turns(self) -> int:
        """Steps of the copies in the whole training."""
        return -(-self.recipe.steps // self.task.copies)

    def run(self, folder: Path | None = None) -> None:
        """Trains to the end; keeps a checkpoint in the folder at every evaluation.

        Resumes from the folder's checkpoint if there is one.
        """
        if folder is not None and (folder / "checkpoint.safetensors").is_file():
            self._restore(folder / "checkpoint.safetensors")
        began = time.monotonic() - self.seconds
        marks = {round(self.turns * (k + 1) / self.recipe.judged) for k in range(self.recipe.judged)}
        while self.turn < self.turns:
            self._step()
            record = None
            if self.turn in marks:
                scores = self._shown.score(self.returns(_JUDGE_SEED)).mean(1)
                self.seconds = time.monotonic() - began
                record = {"steps": self.turn * self.task.copies, "seconds": round(self.seconds, 1)}
                record["scores"] = scores.tolist()
                self.course.append(record)
                if folder is not None:
                    self._save(folder / "checkpoint.safetensors")
            self._report(self.turn * self.task.copies, record)

    def policies(self) -> Policies:
        """The actors as they are."""
        weights = self.agents.actor.detach().numpy().copy()
        names = tuple({"arm": member.arm, "seed": member.seed} for member in self.members)
        return Policies(weights, self._shown.scales, self.sizes.actor, names, {})

    def returns(self, seed: int) -> Array:
        """(M, rounds) of the actors as they are, on episodes of their own from ``seed``, without exploration."""
        return rollouts(self.task, self._judge, self.policies(), seed, self.recipe.rounds)

    def _begin(self, lanes: Lanes, lane: int) -> Array:
        member, copy = divmod(lane, self.task.copies)
        key = [self.members[member].seed, copy, int(self._episode[lane])]
        seed = int(np.random.SeedSequence(key).generate_state(1)[0]) >> 1  # gymnasium's fit 31 bits
        return lanes.begin(lane, seed)

    def _step(self) -> None:
        draw, recipe, copies = self._draws(self.turn), self.recipe, self.task.copies
        learning = self.turn >= max(recipe.warmup / copies, recipe.lookahead)
        if self._lanes is not None:
            own, shape = slice(0, self.agents.acting), (self.agents.acting, copies, -1)
            seen = torch.from_numpy(self._shown.scales(self._seen)).view(shape)
            if learning:
                action = (self.agents.act(seen) + recipe.noise * draw.explore[own]).clamp(-1.0, 1.0)
            else:
                action = draw.anywhere[own]
            every = np.ones(len(self._clock), dtype=bool)
            flat = action.flatten(0, 1).double().numpy()
            following, _, failed = self._lanes.step(flat, every)
            self._clock += 1
            ended = failed | (self._clock >= self.task.horizon)
            after = torch.from_numpy(self._shown.scales(following)).view(shape)
            self.replay.add(
                torch.cat([seen, action], dim=-1), after,
                torch.from_numpy(failed).view(shape[:2]), torch.from_numpy(ended).view(shape[:2]),
            )  # fmt: skip
            self._seen = following
            for lane in np.flatnonzero(ended):
                self._episode[lane] += 1
                self._clock[lane] = 0
                self._seen[lane] = self._begin(self._lanes, int(lane))
        if learning:
            self.agents.update(self.replay if self._lanes is not None else None, draw, self.turn)
        self.turn += 1

    def _save(self, path: Path) -> None:
        tensors = {f"agents.{name}": value for name, value in self.agents.state().items()}
        tensors |= {f"replay.{name}": value for name, value in self.replay.state().items()}
        lanes = self._lanes.state() if self._lanes is not None else {}
        tensors |= {f"lanes.{name}": torch.from_numpy(np.array(value)) for name, value in lanes.items()}
        own = {"seen": self._seen, "clock": self._clock, "episode": self._episode, "turn": np.array(self.turn)}
        own["scores"] = np.array([[record["steps"], record["seconds"], *record["scores"]] for record in self.course])
        tensors |= {f"own.{name}": torch.from_numpy(np.array(value)) for name, value in own.items()}
        checkpoints.write(tensors, path)

    def _restore(self, path: Path) -> None:
        stored = load_file(path)

        def part(prefix: str) -> dict[str, Any]:
            return {name[len(prefix) :]: value for name, value in stored.items() if name.startswith(prefix)}

        own = {name: value.numpy() for name, value in part("own.").items()}
        self.agents.restore(part("agents."))
        self.replay.restore(part("replay."))
        if self._lanes is not None:
            self._lanes.restore({name: value.numpy() for name, value in part("lanes.").items()})
        self._seen, self._clock, self._episode = own["seen"], own["clock"], own["episode"]
        self.turn = int(own["turn"])
        self.course = [
            {"steps": int(row[0]), "seconds": float(row[1]), "scores": row[2:].tolist()} for row in own["scores"]
        ]
        self.seconds = self.course[-1]["seconds"] if self.course else 0.0


def rollouts(task: Task, lanes: Lanes, policies: Policies, seed: int, rounds: int) -> Array:
    """(M, rounds) returns of every policy on the same ``rounds`` episodes, the first of seed ``seed``."""
    count, n = len(policies.members), policies.sizes[0]
    seeds = np.tile(seed + np.arange(rounds), count)

    def act(seen: Array) -> Array:
        return policies(seen.reshape(count, rounds, n)).reshape(count * rounds, -1)

    return episodes(task, lanes, seeds, act).reshape(count, rounds)

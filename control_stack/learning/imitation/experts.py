"""Experts that demonstrate: TD3 of stable-baselines3 on MuJoCo tasks, the shipped foundation policy on the quadrotor.

An expert is trained here, never downloaded. Training stops once ten episodes reach what counts as mastered; stopped or
killed before, it goes on from the end of its last chunk.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from control_stack.errors import TrainingAborted
from control_stack.foundation.runtime import GRUPolicy
from control_stack.learning.imitation.mujoco_lanes import require
from control_stack.learning.imitation.policy_file import Policies, Scales
from control_stack.learning.imitation.quadrotor_lanes import QuadrotorLanes
from control_stack.learning.imitation.tasks import MUJOCO, Policy, Task, episodes
from control_stack.types import Array

Report = Callable[[int, float], None]  # steps done, mean return so far
_JUDGE_EVERY, _JUDGED = 2500, 10
CHUNK = 10_000  # steps between two checkpoints, a multiple of _JUDGE_EVERY: a minute of the hopper
_JUDGE_SEED = 50_000  # of the episodes that training is stopped by; no figure is taken from them


@dataclass(frozen=True)
class Lesson:
    """How an expert is trained: width of its layers, steps at most, and the return that ends it."""

    width: int
    steps: int
    enough: float


@dataclass(frozen=True)
class Trained:
    """An expert: weights (1, P) as ``Policies`` holds them, sizes of its layers, steps and seconds that it took."""

    weights: Array
    sizes: tuple[int, ...]
    steps: int
    seconds: float


LESSONS = {
    "pendulum": Lesson(width=64, steps=100_000, enough=9300.0),
    "hopper": Lesson(width=256, steps=1_000_000, enough=3000.0),
}


def train(name: str, task: Task, seed: int, report: Report, kept: Path) -> Trained:
    """Trains an expert of a MuJoCo task, in chunks that each begin with an episode and generators of their own.

    Args:
        report: Called with (steps, mean return of ten episodes) now and then.
        kept: File that holds the training at the end of every chunk, and that it goes on from, to the same weights.
            It stays when the training is over.

    Raises:
        MissingDependency: stable-baselines3 or MuJoCo is not installed. TrainingAborted: It did not master the task.
        InvalidInput: ``kept`` is damaged.
    """
    require("gymnasium", "mujoco", "imageio", "stable_baselines3")
    import gymnasium
    from stable_baselines3 import TD3
    from stable_baselines3.common.callbacks import BaseCallback
    from stable_baselines3.common.noise import NormalActionNoise

    from control_stack.learning.imitation import expert_checkpoint

    lesson, lanes = LESSONS[name], task.make(_JUDGED)
    sizes = (len(task.observation), lesson.width, lesson.width, len(task.action))
    seeds = _JUDGE_SEED + np.arange(_JUDGED)
    noise = NormalActionNoise(np.zeros(sizes[-1]), 0.1 * np.ones(sizes[-1]))
    model = TD3(
        "MlpPolicy", gymnasium.make(MUJOCO[name]), seed=seed, action_noise=noise, learning_starts=1000,
        batch_size=128, buffer_size=lesson.steps, policy_kwargs={"net_arch": [lesson.width] * 2}, device="cpu",
    )  # fmt: skip
    best, seconds = expert_checkpoint.restore(kept, model) if kept.is_file() else (expert_checkpoint.Best(), 0.0)

    class Judge(BaseCallback):
        """Ends the training once the deterministic policy is good enough."""

        def _on_step(self) -> bool:
            if self.num_timesteps % _JUDGE_EVERY:
                return True
            weights = _weights(self.model)
            mean = float(episodes(task, lanes, seeds, _alone(weights, sizes)).mean())
            if mean > best.score:
                best.score, best.weights = mean, weights
            report(self.num_timesteps, mean)
            return mean < lesson.enough

    while model.num_timesteps < lesson.steps and best.score < lesson.enough:
        began, chunk = time.monotonic(), model.num_timesteps // CHUNK
        model.set_random_seed(int(np.random.SeedSequence([seed, chunk]).generate_state(1)[0]) >> 1)
        model._last_obs = None  # a new episode
        left = lesson.steps - model.num_timesteps
        model.learn(min(CHUNK, left), callback=Judge(), reset_num_timesteps=False)
        seconds += time.monotonic() - began
        expert_checkpoint.save(kept, model, best, seconds)
    if best.weights is None or best.score < lesson.enough:
        raise TrainingAborted(
            f"the expert of '{name}' reached {best.score:.0f} in {lesson.steps} steps, below {lesson.enough:.0f}: "
            "try another --seed, in a new folder"
        )
    return Trained(best.weights, sizes, model.num_timesteps, seconds)


def _weights(model: Any) -> Array:
    """(1, P) of stable-baselines3's deterministic actor: linear, ReLU, linear, ReLU, linear, tanh."""
    linear = [layer for layer in model.policy.actor.mu if hasattr(layer, "weight")]
    parts = [
        part for layer in linear for part in (layer.weight.detach().numpy().T.ravel(), layer.bias.detach().numpy())
    ]
    return np.concatenate(parts)[None]


def plain_scales(size: int) -> Scales:
    """Of an expert that sees the observations as they are."""
    return Scales(np.zeros(size), np.ones(size), np.inf)


def _alone(weights: Array, sizes: tuple[int, ...]) -> Policy:
    policies = Policies(weights, plain_scales(sizes[0]), sizes, ({},), {})
    return lambda seen: policies(seen[None])[0]


def foundation(lanes: QuadrotorLanes, count: int) -> Policy:
    """The shipped foundation policy in N lanes, its actions limited to the task's box; new for every round."""
    policy = GRUPolicy.load()
    hidden = policy.initial_hidden(count)

    def act(seen: Array) -> Array:
        nonlocal hidden
        raw, hidden = policy.step(seen, hidden)
        return lanes.scaled(raw.astype(np.float64))

    return act

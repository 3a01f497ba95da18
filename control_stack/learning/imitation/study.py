"""From an empty folder to imitators of all arms: expert, demonstrations, training, scores, picture.

fit.json                      what is studied; a folder never mixes two studies
expert.safetensors            of MuJoCo tasks, with its card; expert_checkpoint.safetensors while it is trained
demonstrations.safetensors    one pair in 20, with the returns of expert and chance
checkpoint.safetensors        of the stack; course.json the learning curves
policies.safetensors          all members as they ended, with their card and scores
summary.json, imitation.png
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import t as student_t

from control_stack.artefacts import tensors as artefact
from control_stack.artefacts.claim import ClaimedFolder
from control_stack.artefacts.runs import plain, provenance, write_json
from control_stack.errors import InvalidInput
from control_stack.learning.imitation import demonstrations, experts, policy_file
from control_stack.learning.imitation.arms import ARMS, Member, members
from control_stack.learning.imitation.demonstrations import Demonstrations
from control_stack.learning.imitation.mujoco_lanes import require
from control_stack.learning.imitation.picture import study_picture
from control_stack.learning.imitation.quadrotor_lanes import QuadrotorLanes
from control_stack.learning.imitation.tasks import MUJOCO, Lanes, Policy, task_named
from control_stack.learning.imitation.trainer import Recipe, Trainer, rollouts
from control_stack.types import Array

SCORE_SEED, SCORED = 90_000, 20  # episodes that the reported scores come from; nothing is chosen by them
FOUNDATION = "the shipped foundation policy, actions limited to the task's box"
Report = Callable[[str, int, int, str], None]  # stage, done, total, words


class Study(ClaimedFolder):
    """A study in a folder, which it keeps to itself until the end of the context.

    Args:
        folder: New, empty, or of an earlier run of the same study.
        name: Of the task. arms, seed, seeds: Of the members.
        steps: Of every learner; None: the task's own.
        shown: A demonstrations file; None: an expert is made.
        expert: What flies the quadrotor for the demonstrations, in words, and a policy for its lanes; None: the shipped
            foundation policy.
        report: Called with (stage, done, total, words).
        command: That reproduces it, for the cards.

    Raises:
        UnknownName: No such task or arm. MissingDependency: The task's simulator is not installed.
        InvalidInput: Bad sizes, demonstrations with other spaces, a folder that holds another study, or another
            process works in it.
    """

    def __init__(
        self, folder: Path, name: str, arms: Sequence[str], seed: int, seeds: int, steps: int | None = None,
        shown: Path | None = None, report: Report = lambda *_: None, command: str = "",
        expert: tuple[str, Callable[[QuadrotorLanes], Policy]] | None = None,
    ):  # fmt: skip
        self.name, self.task = name, task_named(name)
        self.members, self._seed, self._report, self._command = members(arms, seed, seeds), seed, report, command
        steps = self.task.steps if steps is None else steps
        if steps < 1:
            raise InvalidInput(f"--steps must be at least 1, got {steps}")
        if name in MUJOCO:
            require("gymnasium", "mujoco", "imageio")
        self.recipe = Recipe(steps=steps)
        self._given = demonstrations.load(shown, name) if shown is not None else None
        digest = self._given.card["sha256"] if self._given else None
        if expert is not None and (name in MUJOCO or shown is not None):
            raise InvalidInput("an expert is chosen for the quadrotor only, and not beside demonstrations")
        self._chosen = (
            expert if expert is not None else (FOUNDATION, lambda lanes: experts.foundation(lanes, len(lanes)))
        )
        told = {
            "task": name, "arms": [arm for arm in ARMS if arm in arms], "seed": seed, "seeds": seeds,
            "recipe": plain(self.recipe), "demonstrations": digest,
            "expert": None if name in MUJOCO or shown is not None else self._chosen[0],
        }  # fmt: skip
        super().__init__(folder, told, busy="another process works")

    def run(self) -> dict[str, Any]:
        """All stages, those that are done skipped; returns the summary.

        Raises:
            TrainingAborted: An expert did not master its task.
        """
        shown = self._given if self._given is not None else self._demonstrations()
        trainer = Trainer(self.task, self.members, shown, self.recipe, self._take)
        trainer.run(self.folder)
        returns = rollouts(
            self.task, self.task.make(len(self.members) * SCORED), trainer.policies(), SCORE_SEED, SCORED
        )
        scores = shown.score(returns)
        figures = {"episodes": SCORED, "scores": scores.mean(1).tolist(), "arms": by_arm(self.members, scores.mean(1))}
        end = trainer.policies()
        policy_file.save(
            self.folder / "policies.safetensors", self.name, end.weights, end.scales, end.sizes, end.members,
            self._training(trainer.seconds), {**figures, "expert": shown.expert, "chance": shown.chance},
        )  # fmt: skip
        write_json(self.folder / "course.json", trainer.course)
        summary = {
            **provenance(), "command": self._command, "task": self.name, "recipe": plain(self.recipe),
            "demonstrations": {"pairs": len(shown.actions), "expert": shown.expert, "chance": shown.chance,
                               "by": shown.card["expert"]},
            "wall_time_s": trainer.seconds, **figures,
        }  # fmt: skip
        write_json(self.folder / "summary.json", summary)
        subtitle = f"{self.task.title}, {len(shown.actions)} pairs shown, {self.recipe.steps} steps"
        study_picture(trainer.course, self.members, figures["arms"], self.folder / "imitation.png", subtitle)
        return summary

    def _take(self, done: int, record: dict[str, Any] | None) -> None:
        words = ""
        if record is not None:
            arms = by_arm(self.members, np.array(record["scores"]))
            words = " ".join(f"{arm} {found['score']:.2f}" for arm, found in arms.items())
        self._report("imitate", done, self.recipe.steps, words)

    def _demonstrations(self) -> Demonstrations:
        path = self.folder / "demonstrations.safetensors"
        if path.is_file():
            return demonstrations.load(path, self.name)
        expert, told = self._expert()
        return demonstrations.collect(path, self.name, expert, told, self._seed)

    def _expert(self) -> tuple[Callable[[Lanes], Policy], Mapping[str, Any]]:
        if self.name not in MUJOCO:
            return self._flying, {"what": self._chosen[0]}
        path = self.folder / "expert.safetensors"
        if not path.is_file():
            lesson, kept = experts.LESSONS[self.name], self.folder / "expert_checkpoint.safetensors"

            def report(done: int, mean: float) -> None:
                self._report("expert", done, lesson.steps, f"return {mean:.0f} of {lesson.enough:.0f}")

            found = experts.train(self.name, self.task, self._seed, report, kept)
            scales = experts.plain_scales(found.sizes[0])
            member = {"arm": "expert", "seed": self._seed}
            policy_file.save(
                path, self.name, found.weights, scales, found.sizes, [member], self._training(found.seconds),
                {"steps": found.steps},
            )  # fmt: skip
            kept.unlink()
        policy = policy_file.load(path, self.name)
        told = {"what": "TD3 of stable-baselines3, deterministic", "steps": policy.card["figures"]["steps"],
                "sha256": policy.card["sha256"]}  # fmt: skip
        return (lambda _: lambda seen: policy(seen[None])[0]), told

    def _flying(self, lanes: Lanes) -> Policy:
        if not isinstance(lanes, QuadrotorLanes):
            raise InvalidInput("this expert flies quadrotors only")
        return self._chosen[1](lanes)

    def _training(self, seconds: float) -> dict[str, Any]:
        return {**artefact.training_of(self._command, self._seed, seconds), "recipe": plain(self.recipe)}


def by_arm(stack: Sequence[Member] | Sequence[Mapping[str, Any]], scores: Array) -> dict[str, dict[str, Any]]:
    """Mean score of every arm over its seeds, with the 95 % interval of Student's t (None for a single seed)."""
    names = [member.arm if isinstance(member, Member) else member["arm"] for member in stack]
    out = {}
    for arm in (arm for arm in ARMS if arm in names):
        own = np.array([score for name, score in zip(names, scores, strict=True) if name == arm])
        half = float(student_t.ppf(0.975, len(own) - 1) * own.std(ddof=1) / np.sqrt(len(own))) if len(own) > 1 else None
        mean = float(own.mean())
        interval = None if half is None else [mean - half, mean + half]
        out[arm] = {"score": mean, "interval": interval, "seeds": own.tolist()}
    return out

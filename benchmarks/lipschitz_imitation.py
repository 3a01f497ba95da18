"""Imitation with and without a Lipschitz discriminator: shipped policies once more, and the pendulum trained anew.

Shipped policies act in episodes that none of their figures come from. The pendulum's learners are trained again on
the shipped demonstrations, all arms and seeds; ``--quick`` leaves that out. Scores: 0 is chance, 1 the expert;
intervals are Student's over seeds, so those of three seeds that differ are wide.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from control_stack.artefacts.tables import BenchRow, Findings
from control_stack.errors import InvalidInput
from control_stack.learning.imitation.arms import ARMS
from control_stack.learning.imitation.policy_file import load, shipped
from control_stack.learning.imitation.tasks import TASKS

TARGET = ">= 0.9"
AIMED = ("pendulum", "quadrotor")  # tasks whose arm with both regularisers has the target
EPISODES = 20
RETRAINED = "pendulum"
_SEED = 200_000  # of the first episode: training, choice and the cards' figures use lower ones


def imitation(seed: int, quick: bool) -> Findings:
    """Rows of all tasks whose policies are shipped, and of the pendulum trained in this run."""
    import torch

    torch.set_num_threads(1)
    rows, details = [], {}
    for name in TASKS:
        if shipped(name) is not None:
            details[f"{name}, shipped"] = again(name, seed)
            rows += arm_rows(name, f"imitation, {TASKS[name].title}", details[f"{name}, shipped"])
    if not quick:
        details[f"{RETRAINED}, trained in this run"] = retrained(seed)
        what = f"imitation, {TASKS[RETRAINED].title}, trained in this run"
        rows += arm_rows(RETRAINED, what, details[f"{RETRAINED}, trained in this run"])
    return Findings(rows, details)


def again(name: str, seed: int) -> dict[str, Any]:
    """Scores of shipped policies by arm, on episodes of their own."""
    from control_stack.learning.imitation.study import by_arm
    from control_stack.learning.imitation.trainer import rollouts

    path = shipped(name)
    if path is None:
        raise InvalidInput(f"no imitators of '{name}' are shipped")
    policies, task = load(path, name), TASKS[name]
    figures = policies.card["figures"]
    lanes = task.make(len(policies.members) * EPISODES)
    returns = rollouts(task, lanes, policies, _SEED + 1000 * seed, EPISODES).mean(1)
    return by_arm(policies.members, (returns - figures["chance"]) / (figures["expert"] - figures["chance"]))


def retrained(seed: int) -> dict[str, Any]:
    """Scores by arm of the pendulum's learners, trained from the shipped demonstrations."""
    from control_stack.learning.imitation.study import Study

    pairs = shipped(RETRAINED, "demonstrations")
    with tempfile.TemporaryDirectory() as folder:
        with Study(Path(folder) / "study", RETRAINED, tuple(ARMS), 100 + seed, 3, shown=pairs) as study:
            return study.run()["arms"]


def arm_rows(name: str, test: str, arms: Mapping[str, Mapping[str, Any]]) -> list[BenchRow]:
    """One row an arm; the aim stands on the arm with both regularisers."""
    return [
        BenchRow(test, f"score, {ARMS[arm].label}", found["score"], "",
                 TARGET if arm == "both" and name in AIMED else None, interval=found["interval"])
        for arm, found in arms.items()
    ]  # fmt: skip

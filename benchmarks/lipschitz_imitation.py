"""Imitation with and without a Lipschitz discriminator: shipped policies once more, and the pendulum trained anew.

Shipped policies act in episodes that none of their figures come from. The pendulum's learners are trained again on
the shipped demonstrations, all arms and seeds; ``--quick`` leaves that out. Scores: 0 is chance, 1 the expert;
intervals are Student's over seeds. What cannot be measured, for a file or a package is missing, has a row that says so.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from control_stack.artefacts.tables import BenchRow, Findings
from control_stack.errors import InvalidInput, MissingDependency
from control_stack.learning.imitation.arms import ARMS
from control_stack.learning.imitation.policy_file import load, shipped
from control_stack.learning.imitation.tasks import TASKS

TARGET = ">= 0.9"
AIMED = ("pendulum", "quadrotor")  # tasks whose arm with both regularisers has the target
EPISODES = 20
RETRAINED, SEEDS = "pendulum", 5
_SEED = 200_000  # of the first episode: training, choice and the cards' figures use lower ones


def imitation(seed: int, quick: bool, folder: Path | None = None) -> Findings:
    """Rows of all tasks, and of the pendulum trained in this run.

    Args:
        folder: Where the training is kept, so that a run that was stopped goes on; None: nowhere.
    """
    import torch

    torch.set_num_threads(1)
    rows: list[BenchRow] = []
    details: dict[str, Any] = {}

    def add(name: str, how: str, measured: Callable[[], dict[str, Any]]) -> None:
        test = f"imitation, {TASKS[name].title}, {how}"
        try:
            found = measured()
        except (InvalidInput, MissingDependency) as reason:
            missing = f"not measured: {reason}"
            rows.append(BenchRow(test, missing, float("nan"), "", TARGET if name in AIMED else None))
            return
        details[f"{name}, {how}"] = found
        rows.extend(arm_rows(name, test, found))

    for name in TASKS:
        add(name, "shipped", lambda name=name: again(name, seed))  # type: ignore[misc]
    if not quick:
        add(RETRAINED, "trained in this run", lambda: retrained(seed, folder))
    return Findings(rows, details)


def again(name: str, seed: int) -> dict[str, Any]:
    """Scores of shipped policies by arm, on episodes of their own.

    Raises:
        InvalidInput: None are shipped. MissingDependency: The task's simulator is not installed.
    """
    from control_stack.learning.imitation.study import by_arm
    from control_stack.learning.imitation.trainer import rollouts

    path = shipped(name)
    if path is None:
        raise InvalidInput(f"no imitators of the {TASKS[name].title} are shipped")
    policies, task = load(path, name), TASKS[name]
    figures = policies.card["figures"]
    lanes = task.make(len(policies.members) * EPISODES)
    returns = rollouts(task, lanes, policies, _SEED + 1000 * seed, EPISODES).mean(1)
    return by_arm(policies.members, (returns - figures["chance"]) / (figures["expert"] - figures["chance"]))


def retrained(seed: int, folder: Path | None) -> dict[str, Any]:
    """Scores by arm of the pendulum's learners, trained from the shipped demonstrations.

    Raises:
        InvalidInput: None are shipped: no expert is trained here, which might fail. MissingDependency: No MuJoCo.
    """
    from control_stack.learning.imitation.study import Study

    pairs = shipped(RETRAINED, "demonstrations")
    if pairs is None:
        raise InvalidInput(f"no demonstrations of the {TASKS[RETRAINED].title} are shipped")
    with tempfile.TemporaryDirectory() as passing:
        kept = folder if folder is not None else Path(passing) / "study"
        with Study(kept, RETRAINED, tuple(ARMS), 100 + seed, SEEDS, shown=pairs) as study:
            return study.run()["arms"]


def arm_rows(name: str, test: str, arms: Mapping[str, Mapping[str, Any]]) -> list[BenchRow]:
    """One row an arm; the aim stands on the arm with both regularisers."""
    return [
        BenchRow(test, f"score, {ARMS[arm].label}", found["score"], "",
                 TARGET if arm == "both" and name in AIMED else None, interval=found["interval"])
        for arm, found in arms.items()
    ]  # fmt: skip

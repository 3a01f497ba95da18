"""Tuning of samplers: equally many settings of each are drawn, tried on the same starts, and the best are kept.

Trials are drawn from (seed, sampler, number) alone and each is written down when it is done, so that a killed tuning
goes on where it was and comes to the same settings.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from control_stack.artefacts.runs import plain, provenance, write_json
from control_stack.errors import InvalidInput
from controllers.planning.factory import sampler
from controllers.planning.sampling import Settings

FILE = "settings.json"
_TRIALS = "trials.jsonl"
_WORST = 1e9  # of a trial whose cost is no number

Judge = Callable[[str, Settings], float]  # mean cost of a sampler with these settings, on the tuning's own starts


@dataclass(frozen=True)
class Tuning:
    """What is tuned; a folder holds one tuning's trials.

    Attributes:
        samplers: Names, each with the same number of trials.
        trials: Of each; the first one has the default settings.
        rollouts: Budget of every plan.
        seed: Of the draws.
        about: What decides the result as well: model, task, starts.
    """

    samplers: tuple[str, ...]
    trials: int
    rollouts: int
    seed: int
    about: Mapping[str, Any]

    def draw(self, name: str, trial: int) -> Settings:
        """The settings of a trial."""
        kind = sampler(name)[1]
        default = kind().within(self.rollouts)
        if trial == 0:
            return default
        rng = np.random.default_rng((self.seed, *name.encode(), trial))
        values = default.values()
        for key, (low, high, logarithmic) in kind.SPACE.items():
            drawn = np.exp(rng.uniform(np.log(low), np.log(high))) if logarithmic else rng.uniform(low, high)
            values[key] = round(drawn) if isinstance(values[key], int) else float(drawn)
        return kind(**values)


def tune(tuning: Tuning, folder: Path, judge: Judge, report: Callable[[int, int], None]) -> dict[str, dict[str, Any]]:
    """Tries all that is not tried yet, writes FILE into the folder, and returns the best settings by sampler.

    Args:
        judge: Called once for each trial.
        report: Called with trials done and all there are.

    Raises:
        InvalidInput: The folder holds another tuning, or cannot be written.
    """
    header = {**plain(tuning), "samplers": list(tuning.samplers)}
    file, done = folder / _TRIALS, {}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if file.exists():
            done = _read(file, header)
        else:
            file.write_text(json.dumps(header) + "\n", encoding="utf-8")
        everything = [(name, trial) for trial in range(tuning.trials) for name in tuning.samplers]
        report(len(done), len(everything))
        with file.open("a", encoding="utf-8") as out:
            for name, trial in everything:
                if (name, trial) in done:
                    continue
                cost = float(judge(name, tuning.draw(name, trial)))
                done[name, trial] = cost if np.isfinite(cost) else _WORST
                out.write(json.dumps([name, trial, done[name, trial]]) + "\n")
                out.flush()
                report(len(done), len(everything))
    except OSError as error:
        raise InvalidInput(f"cannot tune into {folder}: {error.strerror}") from None
    best: dict[str, dict[str, Any]] = {}
    costs = {}
    for name in tuning.samplers:
        trial = min(range(tuning.trials), key=lambda k: done[name, k])
        best[name], costs[name] = tuning.draw(name, trial).values(), [done[name, k] for k in range(tuning.trials)]
    write_json(folder / FILE, {"settings": best, "tuning": header, "costs": costs, **provenance()})
    return best


def _read(file: Path, header: dict[str, Any]) -> dict[tuple[str, int], float]:
    lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
    if lines and not lines[-1].endswith("\n"):  # killed while writing
        lines.pop()
        file.write_text("".join(lines), encoding="utf-8")
    try:
        if json.loads(lines[0]) != json.loads(json.dumps(header)):
            raise InvalidInput(f"{file.parent} holds the trials of another tuning: name another folder")
        return {(name, trial): cost for name, trial, cost in map(json.loads, lines[1:])}
    except (IndexError, TypeError, ValueError) as error:
        if isinstance(error, InvalidInput):
            raise
        raise InvalidInput(f"{file}: damaged; remove {file.parent} and begin again") from None

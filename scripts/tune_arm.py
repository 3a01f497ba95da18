"""Tunes every controller of bench arm with equal trials, on loads that neither the bench nor a training sees.

    python scripts/tune_arm.py --out controllers/arm/tuned.json [--models PATH ...] [--trials 24] [--only LABEL ...]

A trial is scored by the mean of the flange's RMS errors over runs with a load, a swap and a drop. The first one of a
controller is its defaults; NMPC has them three times, each with another torque reference, and keeps the best reference
for the trials that follow. These draw settings at random (log-uniform), the same for all that have them. Two trials run
at a time, each on one core; they are kept in OUT.trials until all is done, so that the same command goes on after a
stop. What is not tuned anew stays in OUT, and no two commands tune into the same file at a time.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Sequence
from concurrent.futures import Future, as_completed
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tqdm import tqdm

from benchmarks.arm_models import chosen, contenders, identity, is_ablation
from benchmarks.arm_runs import Contender, Run, carry_out
from benchmarks.cores import one_core_each
from benchmarks.store import Store
from control_stack.artefacts.runs import write_json
from control_stack.errors import ControlStackError, InvalidInput
from control_stack.exclusive import lock
from controllers.arm.factory import combination
from controllers.arm.models import ESTIMATORS
from controllers.arm.nmpc import INPUT_REFERENCES

SEED = 31_337  # of loads and references: those of the bench begin at its own --seed
_NMPC = {"position": (0.005, 0.05), "velocity": (0.15, 1.5), "acceleration": (5.0, 80.0), "terminal": (0.7, 5.0)}
_TORQUE = {"rate": (3.0, 25.0), "integral": (0.03, 1.0)}
_FILTER = {"drift": (0.01, 2.0), "torque_noise": (0.003, 0.3), "surprise": (5.0, 100.0)}


def first_trials(contender: Contender) -> list[dict[str, Any]]:
    """Settings that are tried before any are drawn."""
    return [{"input_reference": kind} for kind in INPUT_REFERENCES] if contender.controller == "nmpc" else [{}]


def draw(contender: Contender, k: int) -> dict[str, Any]:
    """Settings of trial k, without the torque reference."""
    rng = np.random.default_rng((SEED, k))
    ranges = dict(_NMPC if contender.controller == "nmpc" else _TORQUE)
    if contender.estimator in ESTIMATORS:
        ranges |= _FILTER
    found = {
        name: round(float(math.exp(rng.uniform(math.log(low), math.log(high)))), 5)
        for name, (low, high) in ranges.items()
    }
    if "surprise" in found and rng.random() < 0.5:
        found["surprise"] = 0.0
    return found


def score(contender: Contender, settings: dict[str, Any], loads: int, duration: float) -> float:
    """Mean RMS error, m; one that falls over counts as what it does."""
    given = replace(contender, settings=json.dumps(settings))
    errors = [carry_out(Run(given, "changes", k, SEED, duration))["error"] for k in range(loads)]
    return float(np.mean([np.sqrt(np.mean(np.square(error))) for error in errors]))


class Tuning:
    """Trials of one controller, in any order: only those after the first ones wait for these."""

    def __init__(self, contender: Contender, trials: int):
        self.contender, self.trials = contender, trials
        self.scores: dict[int, tuple[float, dict[str, Any]]] = {}

    @property
    def name(self) -> str:
        """Of its settings in the file."""
        c = self.contender
        return combination(c.controller, c.model, c.estimator)

    def settings(self, k: int) -> dict[str, Any] | None:
        """Of trial k; None while it is not known."""
        first = first_trials(self.contender)
        if k < len(first):
            return first[k]
        if any(j not in self.scores for j in range(len(first))):
            return None
        best = min((self.scores[j] for j in range(len(first))), key=lambda found: found[0])[1]
        return {**best, **draw(self.contender, k)}

    def best(self) -> tuple[float, dict[str, Any]]:
        """(error, settings)."""
        return min(self.scores.values(), key=lambda found: found[0])


def keep(path: Path, name: str, settings: dict[str, Any]) -> None:
    """Writes one entry; the others stay as they are now."""
    stored = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    write_json(path, {**stored, name: settings})


def tune(tunings: Sequence[Tuning], out: Path, loads: int, duration: float, processes: int, store: Store) -> None:
    """Carries out what is missing, and writes the best of a controller as soon as all its trials are there."""
    waiting = [(t, k) for k in range(max(t.trials for t in tunings)) for t in tunings if k < t.trials]
    running: dict[Future[float], tuple[Tuning, int]] = {}

    def done(tuning: Tuning, k: int, error: float) -> None:
        settings = tuning.settings(k)
        tuning.scores[k] = (error, settings or {})
        if len(tuning.scores) == tuning.trials:
            best, settings = tuning.best()
            keep(out, tuning.name, settings)
            first = 1e3 * tuning.scores[0][0]
            tqdm.write(f"{tuning.contender.label}: {1e3 * best:.2f} mm ({first:.2f} mm by default), {settings}")

    with (
        tqdm(total=len(waiting), unit="trial", file=sys.stderr) as bar,
        one_core_each(processes) as pool,
    ):
        try:
            while waiting or running:
                for tuning, k in list(waiting):
                    if len(running) >= processes:
                        break
                    settings = tuning.settings(k)
                    if settings is None:
                        continue
                    waiting.remove((tuning, k))
                    part = f"{tuning.name} {json.dumps(settings, sort_keys=True)}"
                    if part in store:
                        done(tuning, k, store.get(part, lambda: 0.0))
                        bar.update()
                        continue
                    running[pool.submit(score, tuning.contender, settings, loads, duration)] = (tuning, k)
                if running:
                    future = next(as_completed(running))
                    tuning, k = running.pop(future)
                    part = f"{tuning.name} {json.dumps(tuning.settings(k), sort_keys=True)}"
                    done(tuning, k, store.put(part, future.result()))
                    bar.update()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def main() -> int:
    """Tunes and writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", required=True, type=Path)
    parser.add_argument("--models", nargs="+", help="the first of each kind is tuned (default: those that ship)")
    parser.add_argument("--trials", type=int, default=24, help="of each controller (default 24)")
    parser.add_argument("--loads", type=int, default=4, help="runs of a trial (default 4)")
    parser.add_argument("--duration", type=float, default=6.0, help="of a run, s (default 6)")
    parser.add_argument("--only", nargs="+", metavar="LABEL", help="as in the bench (default: all)")
    parser.add_argument("--processes", type=int, default=2, metavar="N", help="at a time (default 2)")
    options = parser.parse_args()
    if options.trials < len(INPUT_REFERENCES) or min(options.loads, options.processes) < 1:
        raise InvalidInput(f"--trials is at least {len(INPUT_REFERENCES)}, --loads and --processes at least 1")
    models = chosen(options.models)
    first = {c.label: c for c in reversed(contenders(models)) if not is_ablation(c.label)}
    unknown = set(options.only or ()) - set(first)
    if unknown:
        raise InvalidInput(f"--only {', '.join(sorted(unknown))}: there are {', '.join(first)}")
    tunings = [
        Tuning(c, options.trials) for label, c in reversed(first.items()) if not options.only or label in options.only
    ]
    trials = options.out.with_name(f"{options.out.name}.trials")
    held = lock(f"tuning-{options.out.resolve()}")
    if held is None:
        raise InvalidInput(f"another command tunes into {options.out}: it uses {options.processes} cores by itself")
    with held:
        key = {"loads": options.loads, "duration": options.duration, "weights": identity(models)["sha256"][:-1]}
        tune(tunings, options.out, options.loads, options.duration, options.processes, Store(trials, key))
        trials.unlink()
    return 0


if __name__ == "__main__":
    try:
        code = main()
    except ControlStackError as error:
        print(f"error: {error}", file=sys.stderr)
        code = 2
    except KeyboardInterrupt:
        print("interrupted: the same command goes on", file=sys.stderr)
        code = 130
    raise SystemExit(code)

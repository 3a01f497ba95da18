"""What the policy knows: linear probes of its hidden state; what its size, its teachers and its training are worth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.foundation_table import OurPilot, airframe_count, bootstrap, one_thread, scores, seeds, wilson
from control_stack.artefacts.tables import BenchRow, Findings
from control_stack.errors import InvalidInput
from control_stack.foundation.airframes import LAWS, calm, sample, sample_conditions
from control_stack.foundation.observation import Wrapper
from control_stack.foundation.runtime import GRUPolicy
from control_stack.foundation.training.battery import best_lead
from control_stack.foundation.training.episodes import hover, starts
from control_stack.foundation.training.evaluation import fly
from control_stack.foundation.training.recipe import VALIDATION_SEED
from control_stack.foundation.training.simulator import Fleet
from control_stack.foundation.weights import load
from control_stack.types import Array

# s since the start at which the hidden state is read.
TIMES = (0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0, 5.0)
_LONGEST_DELAY = 0.08  # s
_PROBED = 4  # times as many airframes as the tests have
_RIDGES = tuple(10.0**k for k in range(-5, 3))  # on standardised states; the best on the fitted half is taken
WAYS = {
    "distilled": "distilled",
    "tuned": "distilled, then fine-tuned",
    "direct": "without teachers, as long as the whole line",
}
WAYS_TESTS = (
    "hover, random force",
    "hover, calm",
    "torque/inertia 40-100",
    "eight, 10 s lap",
    "eight, 5.5 s lap",
    "sideways force 30 %",
    "velocity delay 40 ms",
    "velocity delay 80 ms",
)
_LEAD_AIRFRAMES = 128
ABLATION_TESTS = ("hover, random force", "hover, calm", "eight, 5.5 s lap", "velocity delay 40 ms")


def probes(policies: Mapping[str, GRUPolicy], seed: int, quick: bool) -> Findings:
    """Held-out R^2 over time of ridge regressions from the hidden state, for "ours" and "peer".

    Two flights of 5 s each: the law's random forces for what the vehicle is and what pushes it; calm with velocity
    delays of 0..80 ms for the delay. Half of the airframes that survive fit, the other half is predicted. Where
    hundreds would do for one regression, thousands fly: a few survivors that wobble have outlying states.
    """
    found = {name: _probe(policy, seed, quick) for name, policy in policies.items()}
    rows = [
        BenchRow(f"linear probe of the hidden state, {what}", f"held-out R^2 at {TIMES[-1]:g} s", curve[-1], "1", None,
                 found["peer"][what][-1])
        for what, curve in found["ours"].items()
    ]  # fmt: skip
    return Findings(rows, {"times_s": list(TIMES), "r2": found})


def _probe(policy: GRUPolicy, seed: int, quick: bool) -> dict[str, list[float]]:
    count, at = _PROBED * airframe_count(quick), seeds(seed, True)[0]
    airframes = sample(LAWS["raptor"], count, np.random.default_rng(at))
    rng = np.random.default_rng(at + 1)
    forced = sample_conditions(LAWS["raptor"], airframes, rng)
    delays = rng.uniform(0.0, _LONGEST_DELAY, count)
    delayed = replace(calm(airframes), velocity_delay=delays)
    curves: dict[str, list[float]] = {}
    mass = np.asarray(airframes.airframe.mass)
    for conditions, wanted in (
        (forced, {
            "thrust/weight": airframes.thrust_to_weight[:, None],
            "torque/inertia": airframes.torque_to_inertia[:, None],
            "force/mass": (forced.force_w / mass).T,
        }),
        (delayed, {"velocity delay": delays[:, None]}),
    ):  # fmt: skip
        hidden, survived = _hidden_states(policy, airframes, conditions, at)
        for name, values in wanted.items():
            curves[name] = [held_out_r2(h[survived], values[survived]) for h in hidden]
    return curves


def _hidden_states(policy: GRUPolicy, airframes: Any, conditions: Any, seed: int) -> tuple[list[Array], Array]:
    """The hidden states (N, H) at TIMES, and who survived."""
    pilot, kept = OurPilot(policy), {}
    wanted = {round(100 * t) - 1 for t in TIMES}

    def watch(k: int, x: Any, raw: Any) -> None:
        if k in wanted:
            kept[k] = pilot.hidden.astype(float)

    n = len(airframes)
    x = starts(n, torch.Generator().manual_seed(seed), torch.as_tensor(airframes.hover_speed)).float()
    with one_thread():
        flight = fly(pilot, Fleet.of(airframes, conditions), x, hover(n), max(wanted) + 1, 100, watch=watch)
    return [kept[k] for k in sorted(kept)], flight.survived.numpy()


def held_out_r2(states: Array, values: Array) -> float:
    """R^2 = 1 - sum |y - f(h)|^2 / sum |y - mean y|^2 on every second row, f fitted by ridge to the others.

    The weight of the ridge is chosen by leave-one-out errors among the rows that are fitted, and predictions are
    kept within the values that were seen there.

    Args:
        states: (N, H). values: (N, K); K components share one R^2. NaN for fewer than 4 H rows.
    """
    if len(states) < 4 * states.shape[1]:
        return float("nan")
    fit, test = slice(0, None, 2), slice(1, None, 2)
    h = (states - states[fit].mean(0)) / (states[fit].std(0) + 1e-9)
    centre = values[fit].mean(0)
    u, s, vt = np.linalg.svd(h[fit], full_matrices=False)
    projected, best = u.T @ (values[fit] - centre), (np.inf, np.zeros_like(s))
    for ridge in _RIDGES:
        kept = s**2 / (s**2 + ridge * len(u))
        residual = values[fit] - centre - u @ (kept[:, None] * projected)
        left_out = residual / (1.0 - (u**2 @ kept + 1.0 / len(u)))[:, None]
        best = min(best, (float(np.square(left_out).sum()), s / (s**2 + ridge * len(u))), key=lambda pair: pair[0])
    weights = vt.T @ (best[1][:, None] * projected)
    predicted = np.clip(h[test] @ weights + centre, values[fit].min(0), values[fit].max(0))
    wrong = np.square(values[test] - predicted).sum()
    return float(1.0 - wrong / np.square(values[test] - values[test].mean(0)).sum())


def students(folder: str | Path) -> dict[str, GRUPolicy]:
    """The weights files of a folder by name. Raises InvalidInput for none, and for one that cannot be flown."""
    files = sorted(Path(folder).glob("*.safetensors"))
    if not files:
        raise InvalidInput(f"--ablation {folder}: there are no .safetensors files with cards")
    return {file.stem: GRUPolicy(load(file)) for file in files}


def trained(folder: str | Path) -> dict[str, GRUPolicy]:
    """The students that a training left, by way of training: those of WAYS that are there."""
    files = {name: Path(folder) / f"{name}.safetensors" for name in WAYS}
    return {name: GRUPolicy(load(file)) for name, file in files.items() if file.is_file()}


def ways(policies: Mapping[str, GRUPolicy], seed: int, quick: bool) -> list[BenchRow]:
    """Students of one size trained in different ways, on the same airframes; eights with the lead that suits each."""
    rows: list[BenchRow] = []
    for name, policy in policies.items():
        way, pilot = f"way: {WAYS[name]}", OurPilot(policy)
        seconds = policy.weights.card.get("training", {}).get("wall_time_s")
        if seconds is not None:
            rows.append(BenchRow(way, "wall time of its training", seconds / 60.0, "min"))
        with one_thread():
            lead = best_lead(pilot, _LEAD_AIRFRAMES, VALIDATION_SEED, Wrapper())
        for test in WAYS_TESTS[: 2 if quick else None]:
            how = {"wrapper": Wrapper(lead=lead)} if "eight" in test else {}
            reached, _ = scores(test, pilot, airframe_count(quick), seeds(seed, quick), **how)
            kept, n = int(reached.survived.sum()), len(reached.survived)
            rows.append(BenchRow(way, f"{test}: survived", 100.0 * kept / n, "%", interval=wilson(kept, n)))
            mean, sure = float(reached.rmse.mean()), bootstrap(reached.rmse)
            rows.append(BenchRow(way, f"{test}: RMSE, lost ones 1 m", mean, "m", interval=sure))
    return rows


def ablation(policies: Mapping[str, GRUPolicy], seed: int, quick: bool) -> Findings:
    """Scores of each student on a few tests; its card tells how many teachers it had, and what it cost."""
    rows: list[BenchRow] = []
    listed = []
    count = 128 if quick else 512
    for name, policy in policies.items():
        training: Mapping[str, Any] = policy.weights.card.get("training", {})
        entry: dict[str, Any] = {
            "name": name,
            "hidden": policy.hidden_size,
            "parameters": policy.weights.count,
            "teachers": training.get("teachers"),
            "wall_time_s": training.get("wall_time_s"),
        }
        test = f"student {name}"
        rows.append(BenchRow(test, "parameters", float(policy.weights.count), "1"))
        for flown in ABLATION_TESTS:
            reached, _ = scores(flown, OurPilot(policy), count, seeds(seed, True))
            survived, rmse = 100.0 * float(reached.survived.mean()), float(reached.rmse.mean())
            rows.append(BenchRow(test, f"{flown}: survived", survived, "%"))
            rows.append(BenchRow(test, f"{flown}: RMSE, lost ones 1 m", rmse, "m"))
            entry[flown] = {"survived": survived, "rmse": rmse}
        listed.append(entry)
    return Findings(rows, {"students": listed})


def axis(listed: Sequence[Mapping[str, Any]], key: str) -> list[Mapping[str, Any]]:
    """Students that differ in ``key`` ("hidden" or "teachers") and agree in the other, in order of ``key``.

    Of the other the value that most students have counts. None unless at least two values are left.
    """
    other = {"hidden": "teachers", "teachers": "hidden"}[key]
    known = [s for s in listed if s.get(key) is not None]
    values = [s.get(other) for s in known]
    usual = max(values, key=values.count, default=None)
    alike = sorted((s for s in known if s.get(other) == usual), key=lambda s: s[key])
    return alike if len({s[key] for s in alike}) > 1 else []

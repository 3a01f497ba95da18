"""Single plans at equal wall time: regret to the best known plan, by planner and deadline; see ``mip_plans``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.mip_fits import Fit
from benchmarks.mip_plans import instances, plans, proof, sampled, tuned
from benchmarks.mip_statistics import bootstrap, over, ratio_of_means, ratio_of_medians, regret, strictly_less
from benchmarks.mip_work import Part, Work
from control_stack.artefacts.tables import BenchRow, Findings
from controllers.planning.factory import PLANNERS, SAMPLERS, SOLVERS

RELUS, HORIZON = 16, 5
DEADLINES = (0.1, 0.3, 1.0)
LONG_S = 3.0  # of each solver, for the reference
PROOF_S = 30.0  # in which a proof is to be found; one that is not, counts as such
HALF = "<= 0.5"
_TUNING = 2_000_000  # instances from here on: none that anything is measured on
# Trials of each sampler, and instances of each trial.
_TRIALS = {0.1: (9, 3), 0.3: (9, 3), 1.0: (4, 2)}
_KEPT = ("cost", "start_cost", "bound", "seconds")
Plans = Mapping[tuple[str, float], Sequence[Mapping[str, Any]]]


def tuning(fit: Fit, work: Work, deadlines: Sequence[float], seed: int, quick: bool) -> dict[float, dict[str, Any]]:
    """By deadline and sampler what ``mip_plans.tuned`` finds at 16 ReLUs and horizon 5."""
    net, count = (fit.method, RELUS), 1 if quick else max(count for _, count in _TRIALS.values())
    (given,) = work([Part(instances, fit, (net, HORIZON, count, _TUNING + 1000 * seed))])
    parts = {}
    for deadline in sorted(deadlines, reverse=True):
        trials, some = (2, 1) if quick else _TRIALS[deadline]
        for name in SAMPLERS:
            what = (net, HORIZON, given[:some], name, deadline, trials, seed)
            parts[deadline, name] = Part(tuned, fit, what)
    found = dict(zip(parts, work(list(parts.values())), strict=True))
    return {d: {name: found[d, name] for name in SAMPLERS} for d in deadlines}


def open_plans(fit: Fit, work: Work, seed: int, quick: bool) -> tuple[Plans, list[Any]]:
    """By planner and deadline the plans of 16 ReLUs and horizon 5, solvers also for ``LONG_S``; and the instances."""
    net, count, long = (fit.method, RELUS), 4 if quick else 12, 0.5 if quick else LONG_S
    settings = tuning(fit, work, DEADLINES, seed, quick)
    (given,) = work([Part(instances, fit, (net, HORIZON, count, 1000 * seed))])
    parts = {}
    for deadline in (long, *reversed(DEADLINES)):
        for name in SOLVERS if deadline == long else PLANNERS:
            kept = settings[deadline][name]["settings"] if name in SAMPLERS else {}
            parts[name, deadline] = Part(plans, fit, (net, HORIZON, given, name, kept, deadline))
    return dict(zip(parts, work(list(parts.values())), strict=True)), given


def measure(fit: Fit, work: Work, seed: int, quick: bool) -> Findings:
    """Of one task at 16 ReLUs and horizon 5."""
    found, given = open_plans(fit, work, seed, quick)
    net, proofs = (fit.method, RELUS), range(0 if quick else 2)
    known = {k: plan for k in proofs for each in found.values() if (plan := each[k])["status"] == "optimal"}
    parts = {k: Part(proof, fit, (net, HORIZON, given[k], PROOF_S)) for k in proofs if k not in known}
    starts, *more = work([Part(sampled, fit, (net, HORIZON, given)), *parts.values()])
    known |= dict(zip(parts, more, strict=True))
    return summary(fit.task, found, starts, [known[k] for k in proofs])


def summary(
    task: str, plans: Plans, sampled: Sequence[float], proven: Sequence[Mapping[str, Any]]
) -> Findings:  # fmt: skip
    """Rows from plans by planner and deadline, each a list over instances of cost, start_cost, bound and seconds.

    Args:
        plans: Those of deadlines that are not in ``DEADLINES`` count for the reference only.
        sampled: Cost of the start that the mixed-integer planner samples.
        proven: Of the first instances a plan that is proven, or else what was found in ``PROOF_S``.
    """
    reference = reference_of(plans)
    for k, one in enumerate(proven):
        reference[k] = min(reference[k], one["cost"])
    regrets = {key: regret([p["cost"] for p in found], reference) for key, found in plans.items()}
    names, rows = list(dict.fromkeys(name for name, _ in plans)), []
    for own in (name for name in names if name not in SAMPLERS):
        for deadline in DEADLINES:
            test = f"{task}, {own}, plans in {deadline:g} s"
            for figure, of, compared in _FIGURES:
                each = {name: float(of(regrets[name, deadline])) for name in names}
                best = min((name for name in names if name in SAMPLERS), key=lambda name: each[name])
                metric = f"{figure} regret, peer: {best}"
                rows.append(BenchRow(test, metric, 100 * each[own], "%", None, 100 * each[best]))
                target = HALF if figure == "median" and own == "mip" else None
                sure = bootstrap(compared, regrets[own, deadline], regrets[best, deadline])
                ratio = over(each[own], each[best])
                rows.append(BenchRow(test, f"{figure} regret over the best sampler's", ratio, "1", target, None, sure))
            rows += _against_start(test, plans[own, deadline], sampled if own == "mip" else None)
    rows += _of_reference(f"{task}, reference", plans, reference, proven)
    details: dict[str, Any] = {"deadlines": list(DEADLINES), "reference": reference, "proofs": list(proven)}
    details["regret"] = {name: [regrets[name, d].tolist() for d in DEADLINES] for name in names}
    return Findings(rows, details)


_FIGURES = (("median", np.median, ratio_of_medians), ("mean", np.mean, ratio_of_means))


def reference_of(plans: Plans) -> Any:
    """By instance the least cost that any planner has found."""
    return np.min([[p["cost"] for p in found] for found in plans.values()], axis=0)


def _of_reference(
    test: str, plans: Plans, reference: Any, proven: Sequence[Mapping[str, Any]]
) -> list[BenchRow]:  # fmt: skip
    longest = max(deadline for _, deadline in plans)
    ended = np.any([[p["status"] == "optimal" for p in found] for found in plans.values()], axis=0)
    rows = [BenchRow(test, f"proven by some planner in at most {longest:g} s, share of {len(ended)} instances",
                     100 * float(ended.mean()), "%")]  # fmt: skip
    if proven:
        gaps = [float(-regret(p["bound"], reference[k])) for k, p in enumerate(proven)]
        optimal = float(sum(p["status"] == "optimal" for p in proven))
        tried = f"of the {len(proven)} instances that were given {PROOF_S:g} s"
        rows.append(BenchRow(test, f"proven, {tried}", optimal, "1", f">= {len(proven)}"))
        rows.append(BenchRow(test, f"largest gap, {tried}", 100 * max(gaps), "%"))
    return rows


def _against_start(
    test: str, plans: Sequence[Mapping[str, Any]], sampled: Sequence[float] | None
) -> list[BenchRow]:  # fmt: skip
    cost, start, bound, seconds = (np.array([p[key] for p in plans], float) for key in _KEPT)
    gap = (cost - bound) / np.maximum(np.abs(cost), 1e-9)
    better = [("the plan given", start)]
    if sampled is not None:
        better.append(("that and the sampled start", np.minimum(start, sampled)))
    return [
        BenchRow(test, "plans worse than their start", float((cost > start).sum()), "1", "== 0"),
        *(BenchRow(test, f"better than {what}", 100 * float(strictly_less(cost, than).mean()), "%")
          for what, than in better),
        BenchRow(test, "proven optimal", 100 * float(np.mean([p["status"] == "optimal" for p in plans])), "%"),
        BenchRow(test, "median proven gap", 100 * float(np.median(gap)), "%"),
        BenchRow(test, "slowest plan", float(seconds.max()), "s"),
    ]  # fmt: skip

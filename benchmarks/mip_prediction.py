"""How well thin nets predict: beside the best dense net, and beside a rival from scratch of the same size."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from benchmarks.mip_fits import Fit
from benchmarks.mip_statistics import over
from control_stack.artefacts.tables import BenchRow, Findings
from control_stack.types import Array

RELUS = 16
HORIZON = 5  # steps ahead at which errors are told besides one
DENSE, SCRATCH = "<= 1.6", "<= 0.8"
RIVALS = ("dense", "scratch")


def measure(fits: Sequence[Fit], seed: int, quick: bool) -> Findings:
    """Of one task; medians over the fits that have a method, which not all need have.

    Errors are on test episodes, in standard deviations of a step's change.
    """
    task, own_method = fits[0].task, fits[0].method
    compared = sorted({relus for fit in fits for relus in fit.rungs["dense"]})
    rows = [BenchRow(f"{task}, dense nets", "widths compared on validation", float(len(compared)), "1", ">= 2")]
    methods = list(dict.fromkeys(method for fit in fits for method in fit.rungs))
    for method in (method for method in methods if method not in RIVALS):
        having = [fit for fit in fits if fit.has(RELUS, method)]
        if not having:
            continue
        test = f"{task}, {RELUS} ReLUs by {method}, {_count(having)}"
        rows += _beside(test, having, method, "the best dense net", _dense, DENSE if method == own_method else None)
        both = [fit for fit in having if fit.has(RELUS, "scratch")]
        if method == own_method and both:  # it has that one's size
            test = f"{task}, {RELUS} ReLUs by {method}, {_count(both)}"
            rows += _beside(test, both, method, "scratch", _scratch, SCRATCH)
            rows.append(_same_size(test, both, method))
    rungs = {method: sorted({n for fit in fits for n in fit.rungs.get(method, {})}) for method in methods}
    details = {
        "dense_widths": sorted({fit.dense()[1] for fit in fits}),
        "fits": [{"seed": fit.seed, "dense": fit.dense()[1]} for fit in fits],
        "counts": {method: sum(fit.has(RELUS, method) for fit in fits) for method in methods},
        "errors": {method: {str(n): _rung(fits, method, n) for n in rungs[method]} for method in methods},
    }
    return Findings(rows, details)


def _beside(
    test: str, fits: Sequence[Fit], method: str, rival: str, of: Callable[[Fit], Array], target: str | None
) -> list[BenchRow]:  # fmt: skip
    own = np.array([fit.error((method, RELUS)) for fit in fits])
    peer = np.array([of(fit) for fit in fits])
    steps, rows = own.shape[1], []
    for k in sorted({0, min(HORIZON, steps) - 1, steps - 1}):
        metric = f"error {k + 1} step{'s' * (k > 0)} ahead"
        rows.append(BenchRow(test, f"{metric}, peer: {rival}", float(np.median(own[:, k])), "1", None,
                             float(np.median(peer[:, k]))))  # fmt: skip
        ratio = float(np.median([over(float(a), float(b)) for a, b in zip(own[:, k], peer[:, k], strict=True)]))
        # The issue names the first step.
        rows.append(BenchRow(test, f"{metric} over {rival}'s", ratio, "1", target if k == 0 else None))
    return rows


def _count(fits: Sequence[Fit]) -> str:
    return f"{len(fits)} fit{'s' * (len(fits) > 1)}"


def _dense(fit: Fit) -> Array:
    return fit.error(fit.dense())


def _scratch(fit: Fit) -> Array:
    return fit.error(("scratch", RELUS))


def _rung(fits: Sequence[Fit], method: str, relus: int) -> list[float]:
    found: list[Any] = [fit.error((method, relus)) for fit in fits if fit.has(relus, method)]
    return np.median(found, axis=0).tolist()


def _same_size(test: str, fits: Sequence[Fit], method: str) -> BenchRow:
    """A fair rival has as many linear units and as many ReLUs."""
    off = [
        abs(fit.rungs[method][RELUS][unit] - fit.rungs["scratch"][RELUS][unit])
        for fit in fits for unit in ("relus", "linear_units")
    ]  # fmt: skip
    return BenchRow(test, "units more or fewer than scratch, ReLUs and linear", float(max(off)), "1", "== 0")

"""How well thin nets predict: beside the best dense net, and beside a rival from scratch of the same size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.mip_fits import Fit
from benchmarks.mip_statistics import over
from control_stack.artefacts.tables import BenchRow, Findings

RELUS = 16
HORIZON = 5  # steps ahead at which errors are told besides one
DENSE, SCRATCH = "<= 1.6", "<= 0.8"


def measure(fits: Sequence[Fit], seed: int, quick: bool) -> Findings:
    """Of one task; medians over its fits. Errors are on test episodes, in standard deviations of a step's change."""
    task, rows = fits[0].task, []
    widths = sorted({fit.dense()[1] for fit in fits})
    compared = sorted({relus for fit in fits for relus in fit.rungs["dense"]})
    rows.append(BenchRow(f"{task}, dense nets", "widths compared on validation", float(len(compared)), "1", ">= 2"))
    methods = [m for m in fits[0].rungs if m not in ("dense", "scratch") and all(f.has(RELUS, m) for f in fits)]
    for method in methods:
        test = f"{task}, {RELUS} ReLUs by {method}"
        own = np.median([fit.error((method, RELUS)) for fit in fits], axis=0)
        rivals = [("the best dense net", np.median([fit.error(fit.dense()) for fit in fits], axis=0), DENSE)]
        if method == fits[0].method and all(fit.has(RELUS, "scratch") for fit in fits):  # it has that one's size
            rivals.append(("scratch", np.median([fit.error(("scratch", RELUS)) for fit in fits], axis=0), SCRATCH))
        for rival, peer, target in rivals:
            for k in sorted({0, min(HORIZON, len(own)) - 1, len(own) - 1}):
                metric = f"error {k + 1} step{'s' * (k > 0)} ahead"
                rows.append(BenchRow(test, f"{metric}, peer: {rival}", own[k], "1", None, peer[k]))
                wanted = target if k == 0 and method == fits[0].method else None  # the issue names the first step
                ratios = [over(float(fit.error((method, RELUS))[k]), float(_of(fit, rival)[k])) for fit in fits]
                rows.append(BenchRow(test, f"{metric} over {rival}'s", float(np.median(ratios)), "1", wanted))
            if rival == "scratch":
                rows.append(_same_size(test, fits, method))
    details = {
        "dense_widths": widths, "fits": [{"seed": fit.seed, "dense": fit.dense()[1]} for fit in fits],
        "errors": {m: {str(n): _rung(fits, m, n) for n in fits[0].rungs[m] if all(f.has(n, m) for f in fits)}
                   for m in fits[0].rungs},
    }  # fmt: skip
    return Findings(rows, details)


def _of(fit: Fit, rival: str) -> Any:
    return fit.error(("scratch", RELUS) if rival == "scratch" else fit.dense())


def _rung(fits: Sequence[Fit], method: str, relus: int) -> list[float]:
    return np.median([fit.error((method, relus)) for fit in fits], axis=0).tolist()


def _same_size(test: str, fits: Sequence[Fit], method: str) -> BenchRow:
    """A fair rival has as many linear units and as many ReLUs."""
    off = [
        abs(fit.rungs[method][RELUS][unit] - fit.rungs["scratch"][RELUS][unit])
        for fit in fits for unit in ("relus", "linear_units")
    ]  # fmt: skip
    return BenchRow(test, "units more or fewer than scratch, ReLUs and linear", float(max(off)), "1", "== 0")

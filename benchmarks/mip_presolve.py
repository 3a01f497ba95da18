"""Why HiGHS runs without presolve: its answers on a fixed set of small programs whose optima are enumerated."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from benchmarks.mip_work import Part, Work
from control_stack.artefacts.tables import BenchRow, Findings
from controllers.planning.mip import MipPlanner
from controllers.planning.mip.solve import _highs

_ATOL = 1e-4  # of an optimum: far above HiGHS's tolerances on costs of order 1


def measure(work: Work, seed: int, quick: bool) -> Findings:
    """Wrong answers with presolve and without; the programs are the same whatever the seed."""
    import highspy

    count = 16 if quick else 100
    half = count // 2
    found = work([Part(wrong_answers, None, (0, half)), Part(wrong_answers, None, (half, count))])
    wrong = {side: [number for some in found for number in some[side]] for side in found[0]}
    test = f"HiGHS {highspy.Highs().version()}, {count} enumerated programs"
    rows = [
        BenchRow(test, "wrong answers, presolve off", float(len(wrong["off"])), "1", "== 0"),
        BenchRow(test, "wrong answers, presolve on", float(len(wrong["on"])), "1"),
    ]
    return Findings(rows, {"wrong": wrong})


def wrong_answers(first: int, end: int) -> dict[str, list[int]]:
    """Numbers of the programs whose answer is wrong, with presolve off and on."""
    import highspy

    helpers = str(Path(__file__).resolve().parents[1] / "tests" / "helpers")
    if helpers not in sys.path:
        sys.path.append(helpers)
    from mip_toys import VALUES, enumerated, walled  # type: ignore[import-not-found]  # the tests' own programs, and their enumeration

    wrong: dict[str, list[int]] = {"off": [], "on": []}
    for number in range(first, end):
        problem, x0, goal, before = walled(
            number, horizon=2, relus=5, choices={"u0 [m]": VALUES, "u1 [m]": VALUES[::2]}
        )
        optimum = enumerated(problem, x0, goal, before)
        milp = MipPlanner(problem, samples=0).program(x0, goal, before)
        for presolve, found in wrong.items():
            highs = _highs(highspy, milp, presolve=presolve, mip_rel_gap=1e-7)
            highs.run()
            ended, value = highs.getModelStatus(), highs.getInfo().objective_function_value
            kinds = highspy.HighsModelStatus
            if ended == kinds.kOptimal:
                right = np.isfinite(optimum) and abs(value - optimum) <= _ATOL * (1.0 + abs(optimum))
            else:
                right = ended in (kinds.kInfeasible, kinds.kUnboundedOrInfeasible) and np.isinf(optimum)
            if not right:
                found.append(number)
    return wrong

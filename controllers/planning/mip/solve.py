"""HiGHS on one program: starts go in, incumbents come out as they are found.

First downhill from each start (``descent``), then from neighbours of the best point, then branch and bound from there.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from control_stack.types import Array
from controllers.planning.mip.descent import descend
from controllers.planning.mip.neighbours import Neighbourhood
from controllers.planning.mip.program import Milp

# A plan is worth no more digits than the model; HiGHS's own default.
RELATIVE_GAP = 1e-4
# With presolve HiGHS 1.15.1 calls plans optimal that are not, and gives bounds above the optimum: on 3 of the first 16
# programs of tests/planning/test_mip_optimality.py. Without, linear programs also start from the last one's basis.
_OPTIONS = {"output_flag": False, "threads": 1, "parallel": "off", "presolve": "off"}
# Linear programs in the descent from one start, and from a neighbour: it ends by itself, mostly after a few dozen.
DESCENT_PROGRAMS, NEIGHBOUR_PROGRAMS = 200, 40


@dataclass(frozen=True)
class Answer:
    """How a solve ended.

    Attributes:
        status: "optimal", "infeasible", "stopped" (interrupted or out of nodes) or "failed".
        bound: Lower bound of the objective; -inf without one.
        nodes: Of branch and bound.
        note: Why it failed.
    """

    status: str
    bound: float = -np.inf
    nodes: int = 0
    note: str = ""


@dataclass(frozen=True)
class Incumbent:
    """A feasible point found on the way.

    Attributes:
        inputs: (T nu,) of the plan. objective: Of the program. bound: The best one by then.
    """

    inputs: Array
    objective: float
    bound: float


def solve(
    milp: Milp,
    starts: Sequence[Array],
    found: Callable[[Incumbent], None],
    stop: Callable[[], bool] = lambda: False,
    bounded: Callable[[float], None] = lambda bound: None,
    max_nodes: int | None = None,
    relative_gap: float = RELATIVE_GAP,
    neighbourhood: Neighbourhood | None = None,
) -> Answer:
    """Branch and bound in one thread, the same on every machine when ``max_nodes`` ends it.

    Args:
        starts: Of each the values of all columns, feasible.
        found: Told of each better point. bounded: Told of each better bound, between points.
        stop: Asked often; True interrupts.
        neighbourhood: Of the best start, to descend from as well; None for none.

    Raises:
        ImportError: highspy is not installed.
    """
    import highspy

    start = _downhill(highspy, milp, starts, found, stop, neighbourhood)
    limit = {} if max_nodes is None else {"mip_max_nodes": max_nodes}
    highs = _highs(highspy, milp, mip_rel_gap=relative_gap, **limit)
    if highs is None:
        return Answer("failed", note="HiGHS refused the program")
    if start is not None:
        highs.setSolution(len(start), np.arange(len(start), dtype=np.int32), start)

    last = -np.inf

    def improved(event: Any) -> None:
        out = event.data_out
        point, bound = np.array(out.mip_solution)[milp.inputs], float(out.mip_dual_bound)
        found(Incumbent(point, float(out.objective_function_value), bound if bound < np.inf else -np.inf))

    def asked(event: Any) -> None:
        nonlocal last
        if stop():
            event.interrupt()
        bound = event.data_out.mip_dual_bound
        if last < bound < np.inf:
            last = bound
            bounded(bound)

    highs.cbMipImprovingSolution += improved
    highs.cbMipInterrupt += asked
    status = highs.run()
    highs.clearCallbacks()  # they hold the solver, which holds them
    return _answer(highs, highspy, status, milp, found)


def _downhill(
    highspy: Any, milp: Milp, starts: Sequence[Array], found: Callable[[Incumbent], None], stop: Callable[[], bool],
    neighbourhood: Neighbourhood | None,
) -> Array | None:  # fmt: skip
    """The best point that descents from all starts lead to, and from neighbours of it."""
    began, best, cost = time.monotonic(), None, np.inf
    highs = _highs(highspy, replace(milp, integer=np.zeros_like(milp.integer))) if starts else None

    def better(point: Array, value: float) -> None:
        found(Incumbent(point[milp.inputs], value, -np.inf))

    def descent(start: Array, programs: int) -> Array:
        return descend(highs, highspy.HighsModelStatus.kOptimal, milp, start, better, stop, programs)

    def over() -> bool:
        late = neighbourhood is not None and time.monotonic() - began > neighbourhood.seconds
        return highs is None or late or stop()

    for start in sorted(starts, key=lambda point: float(milp.cost @ point)):
        end = start if over() else descent(start, DESCENT_PROGRAMS)
        if milp.cost @ end < cost:
            best, cost = end, float(milp.cost @ end)
    if best is None or neighbourhood is None:
        return best
    rng = np.random.default_rng(0)
    for number in range(neighbourhood.rounds):
        if over():
            break
        near = neighbourhood.near(best[milp.inputs], number, rng)
        end = best if near is None else descent(near, NEIGHBOUR_PROGRAMS)
        if milp.cost @ end < cost:
            best, cost = end, float(milp.cost @ end)
    return best


def _highs(highspy: Any, milp: Milp, **options: Any) -> Any:
    """A silent solver in one thread that holds the program; None if it refuses it."""
    highs = highspy.Highs()
    for name, value in {**_OPTIONS, **options}.items():
        highs.setOptionValue(name, value)
    rowwise, minimize = int(highspy.MatrixFormat.kRowwise), int(highspy.ObjSense.kMinimize)
    status = highs.passModel(
        len(milp.cost), len(milp.row_lower), len(milp.values), rowwise, minimize, 0.0, milp.cost,
        milp.column_lower, milp.column_upper, milp.row_lower, milp.row_upper,
        milp.starts[:-1], milp.columns, milp.values, milp.integer,
    )  # fmt: skip
    return None if status == highspy.HighsStatus.kError else highs


def _answer(highs: Any, highspy: Any, status: Any, milp: Milp, found: Callable[[Incumbent], None]) -> Answer:
    info, end, kinds = highs.getInfo(), highs.getModelStatus(), highspy.HighsModelStatus
    nodes = max(int(info.mip_node_count), 0)
    if status == highspy.HighsStatus.kError:
        return Answer("failed", nodes=nodes, note=f"HiGHS failed: {highs.modelStatusToString(end)}")
    if end in (kinds.kInfeasible, kinds.kUnboundedOrInfeasible):  # all columns are bounded below in the cost
        return Answer("infeasible", nodes=nodes)
    proven = info.mip_dual_bound
    if not milp.integer.any():  # of a linear program HiGHS gives no bound
        proven = info.objective_function_value if end == kinds.kOptimal else -np.inf
    bound = float(proven) if np.isfinite(proven) else -np.inf
    if np.isfinite(info.objective_function_value) and info.primal_solution_status == 2:
        point = np.array(highs.getSolution().col_value)[milp.inputs]
        found(Incumbent(point, float(info.objective_function_value), bound))
    if end == kinds.kOptimal:
        return Answer("optimal", bound, nodes)
    if end in (kinds.kInterrupt, kinds.kSolutionLimit, kinds.kTimeLimit, kinds.kIterationLimit):
        return Answer("stopped", bound, nodes)
    return Answer("failed", bound, nodes, f"HiGHS ended with: {highs.modelStatusToString(end)}")

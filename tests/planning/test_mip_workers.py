"""Deadlines are kept from outside: solver processes that are stopped, stuck or killed, and nothing left of them."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from mip_toys import case
from sampling_toys import goal_at, point

from controllers.planning.mip import MipPlanner, pool
from controllers.planning.problem import Problem

X0, GOAL, REST = np.zeros(2), goal_at(0.55, -0.35), np.zeros((3, 2))
LONG, SHORT = 60.0, 0.05  # s: for ever, and too short for a process that does nothing


@pytest.fixture
def planner():
    with MipPlanner(Problem(point(), 3), samples=0) as made:
        made.warm()
        yield made


def gone(pid: int) -> bool:
    """Neither alive nor a zombie."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, 0)
        return False
    return True


def test_a_worker_finds_what_this_process_finds(planner):
    here, there = planner.plan(X0, GOAL, REST), planner.plan(X0, GOAL, REST, deadline=LONG)
    assert there.status == here.status == "optimal" and there.cost == pytest.approx(here.cost, abs=1e-9)
    assert there.bound == pytest.approx(here.bound, abs=1e-9) and not there.notes
    pids = planner.workers.pids
    for _ in range(3):
        assert planner.plan(X0, GOAL, REST, deadline=LONG).status == "optimal"
    assert planner.workers.pids == pids  # the same process, all the time


def test_a_stuck_solver_costs_the_start_the_spare_takes_over_and_it_is_killed(planner, monkeypatch):
    stuck, spare = planner.workers.pids
    os.kill(stuck, signal.SIGSTOP)
    plan = planner.plan(X0, GOAL, REST, deadline=SHORT)
    assert plan.status == "start" and (plan.inputs == REST).all() and plan.bound == -np.inf
    after = planner.plan(X0, GOAL, REST, deadline=LONG)
    assert after.status == "optimal" and "the spare took over" in after.notes[0]
    assert planner.workers.pids == (spare, stuck)  # it may still stop
    monkeypatch.setattr(pool, "PATIENCE_S", 0.0)
    assert planner.plan(X0, GOAL, REST, deadline=LONG).notes == ()
    assert planner.workers.pids[0] == spare and gone(stuck)


def test_a_solver_that_stops_late_is_the_spare_again(planner):
    late, spare = planner.workers.pids
    os.kill(late, signal.SIGSTOP)
    planner.plan(X0, GOAL, REST, deadline=SHORT)
    os.kill(late, signal.SIGCONT)
    assert planner.plan(X0, GOAL, REST, deadline=LONG).status == "optimal"
    os.kill(planner.workers.pids[0], signal.SIGSTOP)
    planner.plan(X0, GOAL, REST, deadline=SHORT)
    os.kill(spare, signal.SIGCONT)
    assert planner.plan(X0, GOAL, REST, deadline=LONG).status == "optimal"
    assert set(planner.workers.pids) == {late, spare}


def test_two_stuck_solvers_are_replaced_by_a_new_one(planner):
    pids = planner.workers.pids
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    for _ in range(2):
        assert planner.plan(X0, GOAL, REST, deadline=SHORT).status == "start"
    plan = planner.plan(X0, GOAL, REST, deadline=LONG)
    assert plan.status == "optimal" and plan.notes[-1] == "the solver did not stop and was killed"
    assert planner.workers.pids[0] not in pids


def test_a_killed_worker_costs_the_start_and_the_spare_takes_over(planner):
    killed, spare = planner.workers.pids
    os.kill(killed, signal.SIGSTOP)  # so that it does not answer first
    os.kill(killed, signal.SIGKILL)
    plan = planner.plan(X0, GOAL, REST, deadline=LONG)
    assert plan.status == "failed" and plan.cost == plan.start_cost
    assert plan.notes == ("the solver's process ended with code -9",)
    after = planner.plan(X0, GOAL, REST, deadline=LONG)
    assert after.status == "optimal" and planner.workers.pids[0] == spare and gone(killed)


def test_both_killed_are_both_replaced(planner):
    for pid in planner.workers.pids:
        os.kill(pid, signal.SIGKILL)
    statuses = [planner.plan(X0, GOAL, REST, deadline=LONG).status for _ in range(4)]
    assert set(statuses[:3]) <= {"failed", "optimal"} and statuses[3] == "optimal"


def test_a_long_solve_streams_what_it_finds_and_stops_when_told():
    """Branch and bound of this one takes minutes; descents come first and take milliseconds."""
    problem, x0, goal, before = case(4, horizon=12, relus=40)
    start = np.zeros((12, 2))
    with MipPlanner(problem, samples=0) as planner:
        planner.warm()
        plan = planner.plan(x0, goal, start, before, deadline=1.0)
        assert plan.status in ("feasible", "start") and plan.cost <= plan.start_cost and plan.bound <= plan.cost
        used = planner.workers.pids[0]
        assert planner.plan(x0, goal, start, before, deadline=1.0).cost <= plan.start_cost
        pids = {used, *planner.workers.pids}
    assert all(gone(pid) for pid in pids)


def test_closing_leaves_no_process_and_may_be_repeated():
    planner = MipPlanner(Problem(point(), 3))
    planner.close()  # nothing was started
    planner.warm()
    pids = planner.workers.pids
    planner.plan(X0, GOAL, deadline=LONG)
    planner.close()
    planner.close()
    assert all(gone(pid) for pid in pids)
    assert planner.plan(X0, GOAL, REST, deadline=LONG).status == "optimal"  # it starts again when asked
    pids = planner.workers.pids
    del planner  # forgotten, not closed
    assert all(gone(pid) for pid in pids)


def test_workers_end_with_a_parent_that_is_killed():
    code = (
        "import sys; sys.path[:] = sys.argv[1:]; from controllers.planning.mip.pool import SolverPair; import time\n"
        "pair = SolverPair(); pair.wait_until_ready(); print(*pair.pids, flush=True); time.sleep(600)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code, *sys.path], stdout=subprocess.PIPE, text=True)
    pids = [int(word) for word in parent.stdout.readline().split()]
    assert len(pids) == 2
    parent.kill()
    parent.communicate()
    until = time.monotonic() + 60.0
    while not all(_ended(pid) for pid in pids):
        assert time.monotonic() < until
        time.sleep(0.02)


def _ended(pid: int) -> bool:
    """Gone, or a zombie of whoever adopted it."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_a_worker_without_highs_says_so(monkeypatch):
    monkeypatch.setattr(pool, "_COMMAND", "import sys; sys.modules['highspy'] = None\n" + pool._COMMAND)
    with MipPlanner(Problem(point(), 3), samples=0) as planner:
        planner.warm()
        plan = planner.plan(X0, GOAL, REST, deadline=LONG)
    assert plan.status == "failed" and any("HiGHS cannot be used" in note for note in plan.notes)

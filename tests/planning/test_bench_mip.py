"""The arithmetic of ``bench mip``: what its rows say of costs, bounds and starts that are known beforehand."""

from __future__ import annotations

import json
import math
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from mip_toys import case

from benchmarks import mip, mip_bounds, mip_tuning, mip_work
from benchmarks.mip_branching import summary as branching_summary
from benchmarks.mip_closed_loop import summary as closed_summary
from benchmarks.mip_fits import Fit, read_fits
from benchmarks.mip_loop import model_error
from benchmarks.mip_open_loop import DEADLINES
from benchmarks.mip_open_loop import summary as open_summary
from benchmarks.mip_plans import LEAST_ROLLOUTS
from benchmarks.mip_prediction import measure as prediction
from benchmarks.mip_statistics import bootstrap, over, ratio_of_means, ratio_of_medians, regret, strictly_less
from benchmarks.mip_ten_hertz import summary as ten_hertz_summary
from benchmarks.mip_work import Part, Work, source_digest
from control_stack.errors import InvalidInput


def value(rows, metric: str, test: str = "") -> float:
    (found,) = [row.value for row in rows if row.metric == metric and test in row.test]
    return found


def test_regret_is_zero_at_the_reference_and_relative_to_it() -> None:
    assert regret([2.0, 3.0, 0.0], [2.0, 2.0, 0.0]).tolist() == [0.0, 0.5, 0.0]
    assert regret(1e-4, 0.0) == pytest.approx(0.1)  # near zero it is relative to 1e-3
    assert regret(1.0 + 1e-14, 1.0) == 0.0 and regret(1.0 + 1e-7, 1.0) > 0.0


def test_a_ratio_to_nothing() -> None:
    assert over(1.0, 2.0) == 0.5 and over(0.0, 0.0) == 0.0 and over(0.1, 0.0) == np.inf


def test_rounding_is_no_improvement() -> None:
    assert strictly_less([1.0 - 1e-4, 1.0 - 1e-9, 1.0], [1.0, 1.0, 1.0]).tolist() == [True, False, False]
    assert strictly_less(5.0, np.inf)


def test_intervals_are_of_pairs() -> None:
    """Of costs that are always 0.8 of the peer's the ratio is certain, however much starts differ."""
    peer = np.random.default_rng(0).uniform(0.1, 10.0, 40)
    low, high = bootstrap(ratio_of_means, 0.8 * peer, peer)
    assert low == pytest.approx(0.8) and high == pytest.approx(0.8)
    low, high = bootstrap(np.mean, peer)
    assert low < peer.mean() < high and high - low == pytest.approx(4 * peer.std() / 40**0.5, rel=0.15)


def plans(costs, starts=9.0, bound=0.5, status="feasible"):
    return [{"cost": c, "start_cost": starts, "bound": bound, "seconds": 0.1, "status": status} for c in costs]


def test_open_loop_rows_of_known_plans() -> None:
    found = {}
    for deadline in DEADLINES:
        found["mip", deadline] = plans([1.0, 1.1, 2.0])
        found["cem", deadline] = plans([1.4, 1.4, 2.0])
        found["mppi", deadline] = plans([2.0, 2.0, 3.0])
    found["cem", 9.0] = plans([1.0, 1.0, 2.0])  # long: for the reference only
    rows = open_summary("t", found, [1.0, 1.2, 2.0], []).rows
    test = "plans in 0.3 s"
    assert value(rows, "median regret, peer: cem", test) == pytest.approx(0.0)
    assert value(rows, "mean regret, peer: cem", test) == pytest.approx(100 * 0.1 / 3)
    ratio = next(row for row in rows if row.metric == "mean regret over the best sampler's" and test in row.test)
    assert ratio.value == pytest.approx(0.1 / 0.8) and ratio.interval[0] <= ratio.value <= ratio.interval[1]
    assert value(rows, "plans worse than their start", test) == 0.0
    assert value(rows, "better than that and the sampled start", test) == pytest.approx(100 / 3)
    assert value(rows, "median proven gap", test) == pytest.approx(100 * (1.1 - 0.5) / 1.1)
    assert sum(row.target == "<= 0.5" for row in rows) == len(DEADLINES)


def test_rows_of_our_own_branch_and_bound_beside_highs() -> None:
    found = {
        ("branching", 0.1): plans([1.0, 2.0], bound=0.5),
        ("branching", 1.0): plans([1.0, 1.0], bound=1.0, status="optimal"),
        ("mip", 0.1): plans([1.0, 1.5], bound=0.0),
        ("mip", 1.0): plans([1.0, 1.2], bound=0.0),
        ("cem", 0.1): plans([1.0, 1.0]),  # of the open loop: for the reference
    }
    rows = branching_summary("t", found)
    assert value(rows, "mean regret, peer: mip", "0.1 s") == pytest.approx(100 * 0.5)
    assert value(rows, "mean regret over mip's", "0.1 s") == pytest.approx(1.0 / 0.5)
    assert value(rows, "mean regret over mip's", "in 1 s") == pytest.approx(0.0)
    assert value(rows, "median gap over mip's", "0.1 s") == pytest.approx((0.5 + 0.75) / 2)
    assert value(rows, "proven optimal, peer: mip", "in 1 s") == pytest.approx(100.0)
    assert [row.holds for row in rows if row.metric.startswith("mean regret over")] == [False, True]


def test_the_models_error_is_of_what_was_applied_and_of_stretches_that_are_long_enough() -> None:
    """A truth that moves as the model does and drifts by 0.01 a step in the first state."""
    problem, x0, _, _ = case(3, horizon=4)
    rng, weight = np.random.default_rng(0), problem.spec.weights @ np.abs(problem.spec.outputs[:, 0])
    states, inputs = [x0], [problem.limited(rng.normal(size=2)) for _ in range(3)]
    for u in inputs:
        states.append(problem.model.step(states[-1], u) + np.array([0.01, 0.0]))
    stretches = [(states, inputs), ([x0], [])]
    assert model_error(problem, stretches, 1) == pytest.approx(0.01 * weight)
    assert model_error(problem, stretches, 3) > 0.0 and model_error(problem, stretches, 4) is None


def test_a_proof_lowers_the_reference() -> None:
    found = {(name, d): plans([1.0]) for name in ("mip", "cem") for d in DEADLINES}
    proven = [{"cost": 0.8, "bound": 0.8, "status": "optimal"}]
    found = open_summary("t", found, [1.0], proven)
    assert found.details["reference"].tolist() == [0.8]
    assert value(found.rows, "median regret, peer: cem", "plans in 1 s") == pytest.approx(25.0)
    assert value(found.rows, "proven, of the 1 instances that were given 30 s") == 1.0
    assert value(found.rows, "proven by some planner in at most 1 s, share of 1 instances") == 0.0


def flown(costs, held):
    errors = {"error": 0.1, "error_ahead": None}
    return [{"cost": c, "success": h, "late": 1, "plans": 10, **errors} for c, h in zip(costs, held, strict=True)]


def test_closed_loop_rows_take_the_best_sampler_of_each_kind() -> None:
    """Of least cost for the cost, of most goals held for those."""
    given = {
        "mip": flown([0.8, 1.6], [True, False]),
        "cem": flown([1.0, 2.0], [False, False]),
        "mppi": flown([2.0, 4.0], [True, True]),
    }
    rows = closed_summary("t", dict.fromkeys(given, "x"), given).rows
    ratio = next(row for row in rows if row.metric == "mean cost over the best sampler's")
    assert ratio.value == pytest.approx(0.8) and ratio.interval == pytest.approx((0.8, 0.8)) and ratio.holds
    beyond = next(row for row in rows if row.metric == "goals held beyond the sampler with most")
    assert beyond.value == pytest.approx(-50.0) and not beyond.holds
    assert [row.value for row in rows if row.metric == "commands a step late or more"] == pytest.approx([10.0] * 3)


def test_where_nobody_holds_a_goal_no_target_is_met() -> None:
    given = {name: flown([1.0, 2.0], [False, False]) for name in ("mip", "cem")}
    (row,) = [r for r in closed_summary("t", dict.fromkeys(given, "x"), given).rows if "beyond" in r.metric]
    assert row.holds is None and "nobody held any" in row.metric


TUNED = {name: {"settings": {"rollouts": 200, "spread": 0.7}, "pieces": 2} for name in ("cem", "icem", "mppi")}


def fit_of(relus=(8, 16, 24, 32, 64), task: str = "t") -> Fit:
    thin = {n: rung(1.0 / n, n) for n in (*relus, 576)}
    return Fit(Path("."), task, 0, "gates", {"gates": thin, "dense": {64: rung(0.2, 64), 576: rung(0.1, 576)}})


class Loops:
    """Stands in for flying: costs by round, planner and number of the pilot in that round."""

    def __init__(self, costs):
        self.costs, self.rounds = costs, []

    def __call__(self, flights, work):
        seen, found = {}, []
        for _, pilot, starts, _, _ in flights:
            k = seen[pilot.planner] = seen.get(pilot.planner, -1) + 1
            found.append([{"cost": self.costs(len(self.rounds), pilot, k)} for _ in starts])
        self.rounds.append([(pilot, set(starts), steps) for _, pilot, starts, steps, _ in flights])
        return found


def calibrated(parts):
    """1000 rollouts in the time of a plan, whatever the net."""
    return [[1000] * 9 for _ in parts]


def test_the_best_pilot_of_each_planner_flies_the_second_round(monkeypatch: pytest.MonkeyPatch) -> None:
    """And no start of either round is one that is flown for the figures, nor one of the other round."""
    fly = Loops(lambda flown, pilot, k: 5.0 - (k == 2) + 10 * flown)
    monkeypatch.setattr(mip_tuning, "fly_all", fly)
    chosen, means = mip_tuning.choose(fit_of(), calibrated, 0, False, (20, 24), TUNED)
    first, second = fly.rounds
    assert [pilot.planner for pilot, *_ in first].count("cem") == mip_tuning.DRAWS and len(second) == 4
    assert chosen["cem"] == [pilot for pilot, *_ in first if pilot.planner == "cem"][2]
    assert chosen["mip"].net == ("gates", 24) and set(means.values()) == {15.0}
    starts = [set().union(*(numbers for _, numbers, _ in flown)) for flown in fly.rounds]
    assert not starts[0] & starts[1] and min(starts[0] | starts[1]) >= mip_tuning.FIRST_START
    assert {steps for *_, steps in first} == {20} and {steps for *_, steps in second} == {24}


def test_samplers_may_take_every_kind_of_net_and_solvers_what_they_can_search_through() -> None:
    pilots = mip_tuning.sampler_pilots(fit_of(), calibrated, 0, TUNED)
    for name in TUNED:
        mine = [pilot for pilot in pilots if pilot.planner == name]
        assert len(mine) == mip_tuning.DRAWS
        assert {pilot.net for pilot in mine} == {("gates", 16), ("gates", 64), ("dense", 576)}
        assert {pilot.settings["spread"] for pilot in mine[:3]} == {0.7}  # as tuned, as many searches in the time
        assert {pilot.settings["rollouts"] for pilot in mine[:3]} == {500}
        assert min(pilot.settings["rollouts"] for pilot in mine) >= LEAST_ROLLOUTS
    assert len({(pilot.net, pilot.horizon) for pilot in pilots}) == 9
    assert max(pilot.net[1] for pilot in mip_tuning.solver_pilots(fit_of())) == 32
    of_objects = mip_tuning.solver_pilots(fit_of((8, 16, 24, 48, 64), "sorting"))
    assert max(pilot.net[1] for pilot in of_objects) == 64 and min(pilot.net[1] for pilot in of_objects) > 16


def rung(error: float, relus: int, validation: float | None = None, linear: int = 10):
    parts = {"test": {"rmse": [error, 2 * error]}, "validation": {"rmse": [validation or error, 1.0]}}
    return {"relus": relus, "linear_units": linear, **parts}


def test_prediction_takes_the_dense_width_by_validation() -> None:
    """The widest, which is best on validation but not on test; one outside the widths asked for is no rival."""
    dense = {576: rung(0.5, 576, 0.1), 64: rung(0.2, 64, 0.2), 32: rung(0.01, 32)}
    rungs = {"dense": dense, "gates": {16: rung(0.6, 16)}, "scratch": {16: rung(1.0, 16, linear=9)}}
    rows = prediction([Fit(Path("."), "t", 0, "gates", rungs)], 0, True).rows
    assert value(rows, "error 1 step ahead over the best dense net's") == pytest.approx(1.2)
    assert value(rows, "error 1 step ahead over scratch's") == pytest.approx(0.6)
    assert value(rows, "units more or fewer than scratch, ReLUs and linear") == 1.0
    assert [row.target for row in rows if "2 steps" in row.metric] == [None] * 4


def test_methods_that_one_fit_alone_has_are_told_of_that_fit() -> None:
    """And their curves too; a rung that no fit has is none."""
    common = {"dense": {64: rung(0.1, 64)}, "gates": {16: rung(0.2, 16), 8: rung(0.4, 8)}}
    first = {**common, "lasso": {16: rung(0.3, 16)}}
    found = prediction([Fit(Path("."), "t", s, "gates", r) for s, r in enumerate((first, common, common))], 0, True)
    assert value(found.rows, "error 1 step ahead over the best dense net's", "by lasso, 1 fit") == pytest.approx(3.0)
    assert value(found.rows, "error 1 step ahead over the best dense net's", "by gates, 3 fits") == pytest.approx(2.0)
    assert found.details["errors"]["lasso"] == {"16": [0.3, 0.6]} and found.details["counts"]["lasso"] == 1


def count(folder: Path, numbers: int) -> dict:
    """A part's work."""
    return {"x": np.arange(numbers), "folder": folder.name}


def test_a_stopped_run_goes_on_and_other_fits_and_arguments_are_measured_anew(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(mip_work, "source_digest", lambda module: module)
    monkeypatch.setattr(Work, "_executor", lambda work: ThreadPoolExecutor(2))
    file, fit = tmp_path / "measured", fit_of()
    part, other = Part(count, fit, (2,)), Part(count, fit, (3,))
    first = Work(file)
    assert first([part, other], alone=True) == [{"x": [0, 1], "folder": ""}, {"x": [0, 1, 2], "folder": ""}]
    file.write_text(file.read_text()[:-3])  # killed while the last was written
    again = Work(file)
    assert part in again and other not in again and again.seconds == 0.0
    monkeypatch.setattr(Work, "_executor", lambda work: pytest.fail("measured twice"))
    assert again([part]) == [{"x": [0, 1], "folder": ""}] and again.seconds > 0.0
    assert Part(count, Fit(tmp_path, "t", 0, "gates", fit.rungs), (2,)).key == part.key  # wherever it lies
    assert Part(count, Fit(Path("."), "t", 1, "gates", fit.rungs), (2,)).key != part.key


def test_parts_run_on_a_core_each_and_come_back_in_order(monkeypatch) -> None:
    monkeypatch.setattr(mip_work, "source_digest", lambda module: module)
    work = Work(None)
    try:
        cores, root = work([Part(os.sched_getaffinity, None, (0,)), Part(math.isqrt, None, (49,))])
    finally:
        work.close()
    assert len(cores) == 1 and root == 7


def test_a_part_depends_on_the_source_of_all_that_its_module_imports_of_the_bench(monkeypatch) -> None:
    texts = {"a": "from benchmarks.mip_b import x", "benchmarks.mip_b": "import os", "benchmarks.mip_c": ""}
    monkeypatch.setattr(mip_work, "_text", texts.__getitem__)
    digest = source_digest.__wrapped__
    before = digest("a")
    texts["benchmarks.mip_c"] = "x = 1"
    assert digest("a") == before
    texts["benchmarks.mip_b"] = "x = 1"
    assert digest("a") != before


def test_rows_of_ten_hertz_count_every_late_plan() -> None:
    def timing(seconds, costs, starts):
        kept = [{"start": None if g is None else [[0.0]], "given": g, "cost": c} for g, c in starts]
        return {"seconds": seconds, "costs": costs, "plans": kept}

    own = timing([0.09, 0.101, 0.13], [1.0, 3.0], [(None, 9.0), (2.0, 1.0), (2.0, 2.0)])
    other = timing([0.05] * 3, [2.0, 4.0], [(None, 1.0)] * 3)
    rows = ten_hertz_summary("t", own, "cem", other, [1.5, 1.0]).rows
    assert value(rows, "plans over 100 ms") == 2.0 and value(rows, "plans over 120 ms") == 1.0
    assert value(rows, "steps better than the start, given or sampled") == 50.0
    assert value(rows, "mean cost over the sampler's") == pytest.approx(4.0 / 6.0)


def test_ends_of_an_interval_may_be_infinite_but_are_numbers() -> None:
    low, high = bootstrap(ratio_of_medians, np.array([1.0, 1.0, 1.0]), np.array([0.0, 0.0, 1.0]))
    assert low == 1.0 and high == np.inf


def test_folders_that_hold_no_fit(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="no folders of control-stack fit sparse"):
        read_fits(tmp_path)
    (tmp_path / "fit").mkdir()
    (tmp_path / "fit" / "summary.json").write_text(json.dumps({"recipe": {}}))
    with pytest.raises(InvalidInput, match=r"fit/summary\.json: not of control-stack fit sparse"):
        read_fits(tmp_path)
    with pytest.raises(InvalidInput, match="needs --fits DIR"):
        mip.chosen(None, None)


def test_fits_with_weighted_transitions_are_told_apart(tmp_path: Path, monkeypatch) -> None:
    """They are no further seed of their task."""
    spec = SimpleNamespace(task="t")
    monkeypatch.setattr(Fit, "chain", lambda fit, net: SimpleNamespace(spec=spec))
    for name, words in (("t-0", ""), ("t-near", " --near DATA")):
        (tmp_path / name).mkdir()
        told = {"recipe": {"seed": 0, "methods": ["gates"], "relus": 16}, "rungs": {"gates": {"16": {}}}}
        told["command"] = f"control-stack fit sparse DATA --out DIR{words}"
        (tmp_path / name / "summary.json").write_text(json.dumps(told))
    (alike,), (near,) = read_fits(tmp_path)["t"], read_fits(tmp_path, near=True)["t"]
    assert (alike.folder.name, near.folder.name) == ("t-0", "t-near")
    assert alike.digest != near.digest


def test_bounds_of_a_shipped_net_are_never_tighter_than_the_exact_ones() -> None:
    pytest.importorskip("pybullet")
    found = mip_bounds.of_start("pushing-disc", 3, 1)
    width = {name: np.array(of["width"]) for name, of in found.items()}
    exact = width[mip_bounds.EXACT]
    assert exact.shape == (1, 16) and (exact > 0.0).any()
    for each in width.values():
        assert (each >= exact - 1e-6).all()
    assert (width["LP, per neuron"] <= width["linear, backward through all steps"] + 1e-9).all()
    rows = mip_bounds.summary("t", [found]).rows
    assert min(row.value for row in rows if "width" in row.metric) >= 1.0 - 1e-6


def test_omlts_model_has_our_optimum() -> None:
    """The peer solves the same problem: its blocks, with identities shifted and units of every kind, and our bounds."""
    pytest.importorskip("omlt")
    from benchmarks.mip_omlt import _ours, _peer
    from benchmarks.mip_plans import Instance

    for seed in range(3):
        problem, x0, goal, before = case(seed)
        of = Instance(x0, goal, None, before)
        peer = _peer(problem, problem.model, of)
        assert peer["peer cost"] == pytest.approx(_ours(problem, of)["cost"], abs=3e-4)
        assert peer["peer binaries"] > problem.horizon * problem.model.relus

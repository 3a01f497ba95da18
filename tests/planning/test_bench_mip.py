"""The arithmetic of ``bench mip``: what its rows say of costs, bounds and starts that are known beforehand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from mip_toys import case

from benchmarks import mip, mip_tuning
from benchmarks.mip_branching import summary as branching_summary
from benchmarks.mip_closed_loop import summary as closed_summary
from benchmarks.mip_fits import Fit, read_fits
from benchmarks.mip_loop import Pilot, model_error
from benchmarks.mip_open_loop import DEADLINES
from benchmarks.mip_open_loop import summary as open_summary
from benchmarks.mip_prediction import measure as prediction
from benchmarks.mip_statistics import Store, bootstrap, over, ratio_of_means, regret, strictly_less
from control_stack.errors import InvalidInput


def value(rows, metric: str, test: str = "") -> float:
    (found,) = [row.value for row in rows if row.metric == metric and test in row.test]
    return found


def test_regret_is_zero_at_the_reference_and_relative_to_it() -> None:
    assert regret([2.0, 3.0, 0.0], [2.0, 2.0, 0.0]).tolist() == [0.0, 0.5, 0.0]
    assert regret(1e-4, 0.0) == pytest.approx(0.1)  # near zero it is relative to 1e-3


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
    assert value(rows, "mean regret over the best sampler's", test) == pytest.approx(0.1 / 0.8)
    assert value(rows, "plans worse than their start", test) == 0.0
    assert value(rows, "better than that and the sampled start", test) == pytest.approx(100 / 3)
    assert value(rows, "median proven gap", test) == pytest.approx(100 * (1.1 - 0.5) / 1.1)
    assert sum(row.target == "<= 0.5" for row in rows) == len(DEADLINES)


def test_rows_of_our_own_branch_and_bound_beside_highs() -> None:
    found = {
        "branching": [plans([1.0, 2.0], bound=0.5), plans([1.0, 1.0], bound=1.0, status="optimal")],
        "mip": [plans([1.0, 1.5], bound=0.0), plans([1.0, 1.2], bound=0.0)],
    }
    rows = branching_summary("t", found, (0.1, 1.0))
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
    assert value(found.rows, "proven, of those tried") == 1.0


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


def test_the_second_stage_decides_among_the_best_of_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """And no start of either stage is one that is flown for the figures, nor one of the other stage."""
    drawn = [Pilot("cem", ("gates", 16), 5, {"spread": s}) for s in (0.1, 0.2, 0.3)]
    first, second = {0.1: 1.0, 0.2: 2.0, 0.3: 3.0}, {0.1: 5.0, 0.2: 4.0, 0.3: 0.0}
    seen: list[set[int]] = []

    def records(jobs, store):
        numbers = {number for some in jobs for job in some for number in job.starts}
        costs = second if seen else first
        seen.append(numbers)
        found = [costs.get(some[0].pilot.settings.get("spread"), 9.0 + some[0].pilot.net[1]) for some in jobs]
        return [[{"cost": cost} for _ in numbers] for cost in found]

    monkeypatch.setattr(mip_tuning, "_drawn", lambda *_: drawn)
    monkeypatch.setattr(mip_tuning, "records_of", records)
    monkeypatch.setattr(mip_tuning, "FLOWN", ("mip", "cem"))
    fit = Fit(Path("."), "t", 0, "gates", {"gates": {n: {} for n in (8, 16, 24)}})
    chosen = mip_tuning.choose(fit, Store(None, {}), 0, False, 30, {})
    assert chosen["cem"].settings == {"spread": 0.2}  # 0.3 fell in the first stage
    assert chosen["mip"].net == ("gates", 8)
    assert not seen[0] & seen[1] and min(seen[0] | seen[1]) >= mip_tuning.FIRST_START


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


def test_a_stopped_run_goes_on_and_another_begins_anew(tmp_path: Path) -> None:
    file = tmp_path / "parts"
    first = Store(file, {"seed": 0})
    assert first.get("a", lambda: {"x": np.arange(2)}) == {"x": [0, 1]}
    first.put("b", 2)
    file.write_text(file.read_text()[:-3])  # killed while writing b
    again = Store(file, {"seed": 0})
    assert "a" in again and "b" not in again
    assert again.get("a", lambda: pytest.fail("measured twice")) == {"x": [0, 1]}
    assert "a" not in Store(file, {"seed": 1})


def test_folders_that_hold_no_fit(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="no folders of control-stack fit sparse"):
        read_fits(tmp_path)
    (tmp_path / "fit").mkdir()
    (tmp_path / "fit" / "summary.json").write_text(json.dumps({"recipe": {}}))
    with pytest.raises(InvalidInput, match=r"fit/summary\.json: not of control-stack fit sparse"):
        read_fits(tmp_path)
    with pytest.raises(InvalidInput, match="needs --fits DIR"):
        mip.chosen(None, None)


def test_omlts_model_has_our_optimum() -> None:
    """The peer solves the same problem: its blocks, with identities shifted and units of every kind, and our bounds."""
    pytest.importorskip("omlt")
    from benchmarks.mip_omlt import _ours, _peer
    from benchmarks.mip_tuning import Instance

    for seed in range(3):
        problem, x0, goal, before = case(seed)
        of = Instance(x0, goal, None, before)
        peer = _peer(problem, problem.model, of)
        assert peer["peer cost"] == pytest.approx(_ours(problem, of)["cost"], abs=3e-4)
        assert peer["peer binaries"] > problem.horizon * problem.model.relus

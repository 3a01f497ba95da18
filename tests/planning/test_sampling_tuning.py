"""Tuning: equal trials, the same result when it is stopped and goes on, and folders that are not mixed up."""

from __future__ import annotations

import json
from collections import Counter

import pytest
from sampling_toys import goal_at, point

from control_stack.errors import InvalidInput
from controllers.planning.factory import make_planner, read_settings
from controllers.planning.problem import Problem
from controllers.planning.tuning import FILE, Tuning, tune

TUNING = Tuning(("cem", "icem", "mppi"), 5, 200, 3, {"task": "toy"})


def quiet(done: int, total: int) -> None:
    """No progress."""


def spread_judge(name, settings):
    """Cheapest where the spread is near 0.4."""
    return abs(settings.spread - 0.4)


def test_each_has_as_many_trials_of_the_same_budget_and_the_best_is_kept(tmp_path):
    tried, told = [], []

    def judge(name, settings):
        tried.append((name, settings))
        assert settings.rollouts == 200
        return spread_judge(name, settings)

    best = tune(TUNING, tmp_path, judge, lambda *counts: told.append(counts))
    assert Counter(name for name, _ in tried) == {"cem": 5, "icem": 5, "mppi": 5}
    assert told[0] == (0, 15) and told[-1] == (15, 15)
    for name, values in best.items():
        assert abs(values["spread"] - 0.4) == min(spread_judge(name, s) for k, s in tried if k == name)
        assert read_settings(tmp_path / FILE, name) == values
        make_planner(name, Problem(point(), 3), settings=values).plan([0.0, 0.0], goal_at(0.1, 0.1))


def test_stopped_it_goes_on_and_comes_to_the_same(tmp_path):
    whole = tune(TUNING, tmp_path / "whole", spread_judge, quiet)
    count = 0

    def stopped(name, settings):
        nonlocal count
        count += 1
        if count == 8:
            raise KeyboardInterrupt
        return spread_judge(name, settings)

    with pytest.raises(KeyboardInterrupt):
        tune(TUNING, tmp_path / "cut", stopped, quiet)
    assert not (tmp_path / "cut" / FILE).exists()
    with (tmp_path / "cut" / "trials.jsonl").open("a") as file:
        file.write('["cem", 4, 0.')  # killed while writing
    assert tune(TUNING, tmp_path / "cut", stopped, quiet) == whole
    assert count == 16  # the one that was stopped is tried again, no other
    one, other = (json.loads((tmp_path / name / FILE).read_text())["costs"] for name in ("whole", "cut"))
    assert one == other


def test_another_tuning_and_damaged_trials_are_refused(tmp_path):
    tune(TUNING, tmp_path, spread_judge, quiet)
    with pytest.raises(InvalidInput, match="another tuning"):
        tune(Tuning(("cem",), 5, 200, 4, {}), tmp_path, spread_judge, quiet)
    lines = (tmp_path / "trials.jsonl").read_text().splitlines()
    (tmp_path / "trials.jsonl").write_text("\n".join([lines[0], "nonsense", ""]))
    with pytest.raises(InvalidInput, match="damaged"):
        tune(TUNING, tmp_path, spread_judge, quiet)


def test_a_cost_that_is_no_number_is_never_the_best(tmp_path):
    costs = iter([float("nan"), 2.0, float("inf")])
    best = tune(Tuning(("mppi",), 3, 100, 0, {}), tmp_path, lambda name, settings: next(costs), quiet)
    assert best["mppi"] == Tuning(("mppi",), 3, 100, 0, {}).draw("mppi", 1).values()


@pytest.mark.parametrize("text", ["{", "[]", '{"settings": {"cem": 3}}', '{"settings": {}}'])
def test_files_without_settings_are_refused(tmp_path, text):
    (tmp_path / "s.json").write_text(text)
    with pytest.raises(InvalidInput):
        read_settings(tmp_path / "s.json", "cem")
    with pytest.raises(InvalidInput, match="cannot read"):
        read_settings(tmp_path / "none.json", "cem")

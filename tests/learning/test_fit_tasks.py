"""scripts/fit_tasks.py: commands that the command line takes, run once, and named when they fail."""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")

from control_stack.cli import collect, fit, push
from control_stack.learning.sparsify.methods import METHODS
from control_stack.learning.sparsify.recipe import Recipe

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "fit_tasks.py"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("fit_tasks", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules["fit_tasks"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["fit_tasks"]


class Bar:
    done = 0

    def update(self):
        self.done += 1


def parsed(words):
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers()
    for command in (collect, fit, push):
        command.add_parser(commands)
    return parser.parse_args(words)


def test_every_task_has_its_commands_and_the_first_seed_every_method(script, tmp_path):
    assert list(script.BUDGETS) == list(collect.TASKS)
    for task in script.BUDGETS:
        data = parsed(script.collection(tmp_path, task, 1.0))
        first, other = (parsed(script.fitting(tmp_path, task, seed, seed == 0, 0.5)) for seed in (0, 1))
        assert first.data == other.data == data.out and data.episodes == script.BUDGETS[task].episodes
        assert set(first.method) == {*METHODS, "dense", "scratch"} and other.method == ["gates", "dense", "scratch"]
        assert {8, 16} <= set(first.budget_ladder) and first.out != other.out
        assert (48 in first.budget_ladder) == bool(first.objects) == (task == "sorting")
        assert first.updates == pytest.approx(0.5 * script.BUDGETS[task].updates)


def test_one_fit_weighs_transitions_by_what_the_planner_of_another_did(script, tmp_path):
    assert set(script.NEAR) <= set(script.TASKS)
    alike = parsed(script.fitting(tmp_path, "pushing-box", 0, True, 1.0))
    near = parsed(script.near_fitting(tmp_path, "pushing-box", 0, 1.0))
    flown = [parsed(words) for words in script.pushes(tmp_path, "pushing-box", 0)]
    assert len({push.seed for push in flown}) == script.FLIGHTS and {push.controller for push in flown} == {"mip"}
    assert {push.model for push in flown} == {f"{alike.out}/model.safetensors"}
    assert all(push.out.startswith(near.near) for push in flown) and alike.near is None
    assert (near.data, near.seed, near.updates, near.budget_ladder) == (
        alike.data, alike.seed, alike.updates, alike.budget_ladder
    )  # fmt: skip
    assert near.method == ["gates"] and near.out != alike.out


def test_updates_scale_every_training():
    usual, half = Recipe(), Recipe().scaled(0.5)
    assert half.first_updates == usual.first_updates / 2
    for budget in usual.ladder:
        assert [2 * n for n in half.updates(budget)] == pytest.approx(usual.updates(budget), rel=0.01)
    assert usual.updates(16)[1] > usual.updates(8)[1]  # the model's own rung


@pytest.mark.slow
def test_a_command_that_ended_well_is_not_run_again_and_one_that_did_not_is_named(script, tmp_path, monkeypatch):
    words = ["collect", "piecewise", "--episodes", "10", "--out", str(tmp_path / "data")]
    bar = Bar()
    script.Runner(tmp_path, bar)("data-piecewise", words)
    assert (tmp_path / "data" / "data.safetensors").is_file()
    assert json.loads((tmp_path / "times.json").read_text())["data-piecewise"]["cpu_s"] > 0.0
    again = script.Runner(tmp_path, bar)
    with pytest.raises(script.Failed, match="broken ended with 2: error: .*nothing"):
        again("broken", ["fit", "sparse", str(tmp_path / "nothing"), "--out", str(tmp_path / "fit")])
    monkeypatch.setattr(script.subprocess, "Popen", None)
    again("data-piecewise", words)
    assert bar.done == 2

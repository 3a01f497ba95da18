"""control-stack train imitation as a user types it: a tiny study to its end, and refusals with their reason."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from control_stack.artefacts import tensors as artefact
from control_stack.cli import train_imitation
from control_stack.cli.main import main
from control_stack.errors import InvalidInput
from control_stack.learning.imitation import demonstrations, networks, policy_file
from control_stack.learning.imitation.arms import ARMS
from control_stack.learning.imitation.tasks import TASKS


def train(*options: object) -> int:
    try:
        return main(["train", "imitation", *map(str, options)])
    except SystemExit as end:
        return int(end.code or 0)


@pytest.fixture
def quadrotor_pairs(tmp_path):
    """A demonstrations file of the quadrotor, made up but whole."""
    task, random = TASKS["quadrotor"], np.random.default_rng(0)
    path = tmp_path / "shown.safetensors"
    tensors = {
        "observations": random.normal(size=(50, 22)), "actions": random.uniform(-0.5, 0.5, (50, 4)),
        "mean": np.zeros(22), "scale": np.ones(22),
    }  # fmt: skip
    card = {
        "format": demonstrations.FORMAT, "task": "quadrotor", **policy_file.spaces(task), "expert": {"what": "test"},
        "expert_returns": [480.0], "chance_returns": [20.0],
    }  # fmt: skip
    return path, tensors, card


def test_the_command_offers_the_tasks_and_arms_that_exist():
    assert set(train_imitation.TASKS) == set(TASKS) and list(train_imitation.ARMS) == list(ARMS)


def test_a_tiny_study_leaves_policies_that_load_and_is_not_mixed_with_another(
    tmp_path, quadrotor_pairs, capsys, monkeypatch
):
    monkeypatch.setitem(TASKS, "quadrotor", replace(TASKS["quadrotor"], horizon=10))
    path, tensors, card = quadrotor_pairs
    artefact.write(path, tensors, card)
    out = tmp_path / "study"
    options = ("--task", "quadrotor", "--demonstrations", path, "--arms", "cloning", "--steps", 80, "--out", out)
    assert train(*options, "--seeds", 2) == 0
    assert "cloning" in capsys.readouterr().out
    policies = policy_file.load(out / "policies.safetensors", "quadrotor")
    assert [member["seed"] for member in policies.members] == [0, 1]
    assert policies.card["training"]["command"].startswith("control-stack train imitation --task quadrotor --out DIR")
    assert policies(np.zeros((2, 1, 22))).shape == (2, 1, 4)
    summary = json.loads((out / "summary.json").read_text())
    assert set(summary["arms"]) == {"cloning"} and len(summary["arms"]["cloning"]["seeds"]) == 2
    assert (out / "imitation.png").stat().st_size > 10_000
    assert train(*options, "--seeds", 3) == 2
    assert "holds another" in capsys.readouterr().err


def refused(path, tensors, card, name="quadrotor") -> str:
    artefact.write(path, tensors, card)
    with pytest.raises(InvalidInput) as error:
        demonstrations.load(path, name)
    return str(error.value)


def test_demonstrations_that_do_not_fit_are_refused_with_the_reason(quadrotor_pairs):
    path, tensors, card = quadrotor_pairs
    assert "'quadrotor', not 'pendulum'" in refused(path, tensors, card, "pendulum")
    fewer = {**card, "observation": card["observation"][:-1]}
    assert "21 channels of observation; 'quadrotor' has 22" in refused(path, tensors, fewer)
    renamed = {**card, "action": ["thrust, N", *card["action"][1:]]}
    assert "'thrust, N', not 'rotor FR, around hover'" in refused(path, tensors, renamed)
    assert "other spaces: observations (50, 21)" in refused(
        path, {**tensors, "observations": tensors["observations"][:, :21]}, card
    )
    assert "finite" in refused(path, {**tensors, "actions": np.full((50, 4), np.nan)}, card)
    assert "-1..1" in refused(path, {**tensors, "actions": 1.5 * np.ones((50, 4))}, card)
    assert "scales above 0" in refused(path, {**tensors, "scale": np.zeros(22)}, card)
    assert "not above that of chance" in refused(path, tensors, {**card, "expert_returns": [10.0]})
    assert "incomplete" in refused(path, {k: v for k, v in tensors.items() if k != "mean"}, card)
    assert "format" in refused(path, tensors, {**card, "format": "other"})


def test_bad_options_are_one_line_and_exit_code_2(tmp_path, quadrotor_pairs, capsys):
    path, tensors, card = quadrotor_pairs
    artefact.write(path, tensors, card)
    good = ("--task", "quadrotor", "--demonstrations", path, "--out", tmp_path / "new")
    for options in (
        ("--task", "walker", "--out", tmp_path / "new"), (*good, "--arms", "bot"), (*good, "--steps", "0"),
        (*good, "--seeds", "0"), (*good, "--seed", "-1"), (*good[:2], "--out", ""),
        (*good, "--expert", "nmpc"), ("--task", "pendulum", "--expert", "nmpc", "--out", tmp_path / "new"),
        (*good[:2], "--demonstrations", tmp_path / "none.safetensors", "--out", tmp_path / "new"),
        ("--task", "pendulum", "--demonstrations", path, "--out", tmp_path / "new"),
    ):  # fmt: skip
        assert train(*options) == 2
        assert capsys.readouterr().err.strip().count("\n") == 0
    assert not (tmp_path / "new").exists()


def test_a_missing_simulator_is_named_with_its_extra(tmp_path, monkeypatch, capsys):
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == "mujoco" else real(name, *a))
    pytest.importorskip("gymnasium")
    assert train("--task", "pendulum", "--out", tmp_path / "new") == 2
    assert "'mujoco' is not installed" in capsys.readouterr().err and not (tmp_path / "new").exists()


def test_the_bench_scores_shipped_policies_and_aims_at_both_regularisers(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parents[2]))
    bench = importlib.import_module("benchmarks.lipschitz_imitation")
    monkeypatch.setitem(TASKS, "quadrotor", replace(TASKS["quadrotor"], horizon=10))
    sizes, path = (22, 8, 8, 4), tmp_path / "policies.safetensors"
    stack = [{"arm": arm, "seed": seed} for arm in ("none", "both") for seed in (0, 1)]
    hovering = np.zeros((4, networks.count(sizes)))
    hovering[3] = 100.0  # every action at its limit
    scales = policy_file.Scales(np.zeros(22), np.ones(22))
    training = {"command": "c", "seed": 0, "git_revision": "r", "wall_time_s": 1.0, "hardware": {}}
    figures = {"expert": 10.0, "chance": 0.0}
    policy_file.save(path, "quadrotor", hovering, scales, sizes, stack, training, figures)
    monkeypatch.setattr(bench, "shipped", lambda name, what="policies": path if name == "quadrotor" else None)
    found = bench.imitation(0, True)
    rows = {(row.test.split(", ")[1], row.metric): row for row in found.rows}
    missing = "not measured: no imitators of the {} are shipped"
    assert {key: row.target for key, row in rows.items()} == {
        ("inverted double pendulum", missing.format("inverted double pendulum")): ">= 0.9",
        ("hopper", missing.format("hopper")): None,
        ("quadrotor tracking", "score, no regulariser"): None,
        ("quadrotor tracking", "score, penalty and spectral norm"): ">= 0.9",
    }
    assert [row.holds for row in found.rows if "not measured" in row.metric] == [False, None]
    arms = found.details["quadrotor, shipped"]
    assert arms["none"]["seeds"][0] == arms["none"]["seeds"][1] > arms["both"]["seeds"][1]
    low, high = arms["both"]["interval"]
    assert low < arms["both"]["score"] < high and 0.0 < arms["none"]["score"] < 1.0


def test_the_bench_without_demonstrations_says_so_and_trains_no_expert(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parents[2]))
    bench = importlib.import_module("benchmarks.lipschitz_imitation")
    monkeypatch.setattr(bench, "shipped", lambda name, what="policies": None)
    last = bench.imitation(0, False, tmp_path / "kept").rows[-1]
    assert last.metric == "not measured: no demonstrations of the inverted double pendulum are shipped"
    assert last.test.endswith("trained in this run") and last.holds is False
    assert not (tmp_path / "kept").exists()


def test_the_bench_keeps_its_training_beside_the_report_until_that_is_written(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parents[2]))
    bench = importlib.import_module("benchmarks.lipschitz")
    given = []
    module = importlib.import_module("benchmarks.lipschitz_imitation")
    monkeypatch.setattr(module, "imitation", lambda seed, quick, folder=None: given.append(folder) or [])
    for key in ({"seed": 0}, {"seed": 0}, {"seed": 1}):
        bench.groups(tmp_path / "l.json.parts", key)["imitation"](0, False)
    bench.groups()["imitation"](0, False)
    first, second, other, none = given
    assert first == second != other and none is None and first.parent == tmp_path
    (first / "deep").mkdir(parents=True)
    (tmp_path / "l.json").touch()
    bench.finish({}, tmp_path / "l.json")
    assert [path.name for path in tmp_path.iterdir()] == ["l.json"]

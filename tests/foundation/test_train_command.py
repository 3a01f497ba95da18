"""control-stack train foundation, as a user types it: a tiny training to its end, its remains, and refusals."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
import yaml

from control_stack.cli.main import main
from control_stack.foundation.runtime import GRUPolicy
from control_stack.foundation.training import battery, history, screening
from control_stack.foundation.training import recipe as recipes
from control_stack.foundation.training.picture import training_picture
from control_stack.foundation.training.pipeline import Training, load_recipe
from control_stack.foundation.training.recipe import Recipe
from control_stack.foundation.training.teachers import Teachers

TINY = {
    "teachers": 4, "width": 8, "episodes": 2, "shared": 12, "specialised": 3, "distilled": 3, "tuned": 3, "direct": 3,
    "vehicles": 8, "window": 5, "workers": 1, "teacher_driven": 2, "judged": 2, "compiled": False,
    "bar_survived": 0.0, "bar_rmse": 1.0,
}  # fmt: skip


def train(*options: object) -> int:
    try:
        return main(["train", "foundation", *map(str, options)])
    except SystemExit as end:
        return int(end.code or 0)


@pytest.fixture
def recipe(tmp_path):
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(TINY))
    return path


@pytest.mark.slow
def test_from_an_empty_folder_to_weights_that_load(tmp_path, recipe, capsys, monkeypatch):
    # The tests of the end are flown by this process: a fifth of a second each is enough here.
    short = {name: replace(test, seconds=0.2, scored=0.1) for name, test in battery.TESTS.items()}
    monkeypatch.setattr(battery, "TESTS", short)
    out = tmp_path / "run"
    assert train("--out", out, "--recipe", recipe, "--seed", 5, "--no-tune") == 0
    assert "teachers dropped" in capsys.readouterr().out
    policy = GRUPolicy.load(out / "foundation.safetensors")
    card = policy.weights.card["training"]
    assert policy.weights.count == 2084 and card["seed"] == 5 and card["recipe"]["teachers"] == 4
    assert card["command"] == f"control-stack train foundation --out DIR --recipe {recipe} --seed 5 --no-tune"
    assert set(card["wall_time_by_stage_s"]) == {"shared", "teachers", "distil"}
    figures = policy.weights.card["figures"]
    assert figures["chosen"] == "distilled" and figures["validation"]["hover, calm"]["airframes"] == 2
    teachers = json.loads((out / "teachers.json").read_text())
    assert teachers["summary"]["teachers"] == len(teachers["gain_m"]) == len(teachers["teacher_survived"]) == 4
    for name in ("summary.json", "recipe.json", "training.png", "distilled.safetensors"):
        assert (out / name).stat().st_size > 0
    # The same again adds the last stage only.
    before = {path: path.stat().st_mtime_ns for path in out.glob("*/worker_*")}
    assert train("--out", out, "--recipe", recipe, "--seed", 5) == 0
    assert before == {path: path.stat().st_mtime_ns for path in before}
    summary = json.loads((out / "summary.json").read_text())
    assert summary["stages"]["tune"]["updates"] == 3 and summary["chosen"] in ("distilled", "tuned")


def test_a_stage_on_its_own_and_what_it_refuses(tmp_path, recipe, capsys):
    out = tmp_path / "run"
    assert train("--out", out, "--recipe", recipe, "--stage", "teachers") == 2
    assert "'shared' comes first" in capsys.readouterr().err
    assert train("--out", out, "--recipe", recipe, "--stage", "shared") == 0
    summary = json.loads((out / "summary.json").read_text())
    assert summary["stages"]["shared"]["updates"] == 12 and not (out / "foundation.safetensors").exists()
    assert [record["updates"] for record in history.read(out / "shared")] == [1, 10]
    capsys.readouterr()
    assert train("--out", out, "--recipe", recipe, "--stage", "shared", "--seed", 1) == 2
    assert "another recipe (seed 0, not 1)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), "--out"),
        (("--out", ""), "--out"),
        (("--out", "full"), "not empty"),
        (("--out", "full/file"), "is a file"),
        (("--out", "x", "--workers", 0), "workers"),
        (("--out", "x", "--workers", "two"), "--workers"),
        (("--out", "x", "--seed", -1), "--seed"),
        (("--out", "x", "--stage", "last"), "--stage"),
        (("--out", "x", "--stage", "tune", "--no-tune"), "--no-tune"),
        (("--out", "x", "--recipe", "no.yaml"), "no.yaml"),
        (("--out", "x", "--recipe", "bad.yaml"), "not valid YAML"),
        (("--out", "x", "--recipe", "list.yaml"), "mapping"),
        (("--out", "x", "--recipe", "unknown.yaml"), "unknown recipe value 'teacher'"),
        (("--out", "x", "--recipe", "typed.yaml"), "teachers must be of type int"),
        (("--out", "x", "--recipe", "cost.yaml"), "unknown cost 'speed'"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(tmp_path, monkeypatch, capsys, options, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("mine")
    for name, text in (("bad", "cost: ["), ("list", "- 1"), ("unknown", "teacher: 3"), ("typed", "teachers: 1.5"),
                       ("cost", "cost: {speed: 1.0}")):  # fmt: skip
        (tmp_path / f"{name}.yaml").write_text(text)
    assert train(*options) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and said in err and not (tmp_path / "x").exists()


def test_without_a_gpu_cuda_is_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert train("--out", tmp_path / "x", "--device", "cuda") == 2
    assert "no CUDA device" in capsys.readouterr().err


def test_without_torch_its_extra_is_named(tmp_path, monkeypatch, capsys):
    import importlib.util

    honest = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "torch" else honest(name, *rest)
    )
    assert train("--out", tmp_path / "x") == 2
    assert "[learn]" in capsys.readouterr().err


def test_ctrl_c_leaves_a_folder_that_goes_on(tmp_path, recipe, monkeypatch, capsys):
    from control_stack.foundation.training import parallel

    def interrupted(*what):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(parallel, "_run_processes", interrupted)
        assert train("--out", tmp_path / "run", "--recipe", recipe, "--stage", "shared") == 130
    assert "can be resumed by the same command" in capsys.readouterr().err
    assert train("--out", tmp_path / "run", "--recipe", recipe, "--stage", "shared") == 0


def test_two_trainings_in_one_folder_are_refused(tmp_path, recipe, capsys):
    with Training(tmp_path / "run", load_recipe(recipe), lambda *a: None):
        assert train("--out", tmp_path / "run", "--recipe", recipe) == 2
    assert "another training runs" in capsys.readouterr().err


def test_recipes_take_files_then_options():
    assert load_recipe(None) == Recipe()
    assert load_recipe(None, seed=4, workers=None) == Recipe(seed=4)


def test_history_counts_work_once_however_often_it_is_interrupted(tmp_path):
    first = history.History(tmp_path)
    for done in range(1, 26):
        first.add(0, done, 1.0)
    first.add(0, 25, ("score", 3.0, 0.5))
    again = history.History(tmp_path)
    again.add(0, 16, 2.0)  # its checkpoint was that of update 15
    for done in range(17, 31):
        again.add(0, done, 2.0)
    records = history.read(tmp_path)
    assert [(r["updates"], r.get("cost")) for r in records] == [(1, 1.0), (10, 1.0), (20, 2.0), (30, 2.0)]
    assert [r["seconds"] for r in records] == sorted(r["seconds"] for r in records)
    with (tmp_path / "history.jsonl").open("a") as file:
        file.write('{"updates": 4')
    assert history.read(tmp_path) == records


def figures(survived, rmse):
    return {"teacher_survived": torch.tensor(survived), "teacher_rmse": torch.tensor(rmse),
            "shared_survived": torch.ones(len(rmse)), "shared_rmse": torch.full((len(rmse),), 0.05)}  # fmt: skip


def test_teachers_below_the_bar_are_retrained_once_and_dropped_if_that_does_not_help(tmp_path, monkeypatch):
    recipe = Recipe(teachers=4, workers=2, bar_survived=0.9, bar_rmse=0.1)
    shards = [
        Teachers(2, 32).stacked(Teachers(1, 32).initial_weights(torch.Generator().manual_seed(k))) for k in (0, 1)
    ]
    second = {name: torch.full_like(w[:2], 7.0) for name, w in shards[0].items()}
    answers = [figures([1.0, 0.5, 1.0, 1.0], [0.01, 0.5, 0.01, 0.3]), figures([1.0, 0.2], [0.02, 0.9])]
    asked = []

    def again(recipe, shared, airframes, folder, report, engine):
        asked.append(airframes)
        return second

    monkeypatch.setattr(recipes, "teacher_report", lambda *a: answers.pop(0))
    monkeypatch.setattr(recipes, "retrain_teachers", again)
    out = screening.screen(recipe, {}, shards, tmp_path, lambda *a: None)
    assert len(asked) == 1 and len(asked[0]) == 2
    assert out["retrained"] == [False, True, False, True] and out["kept"] == [True, True, True, False]
    assert out["teacher_rmse_m"] == pytest.approx([0.01, 0.02, 0.01, 0.3])
    summary = out["summary"]
    assert (summary["retrained"], summary["rescued_by_retraining"], summary["dropped"]) == (2, 1, 1)
    from safetensors.torch import load_file

    one, two = (load_file(recipes.taught_path(tmp_path, rank)) for rank in (0, 1))
    assert (one["0.weight"][1] == 7.0).all() and torch.equal(one["0.weight"][0], shards[0]["0.weight"][0])
    assert torch.equal(two["0.weight"], shards[1]["0.weight"])
    assert one["kept"].tolist() == [1, 1] and two["kept"].tolist() == [1, 0]
    course = [{"updates": 10, "seconds": 8.0, "cost": 0.9}, {"updates": 500, "seconds": 400.0, "score": 3.1}]
    for name, courses in (("teachers", {}), ("rivals", dict.fromkeys(("distil", "tune", "direct"), course))):
        picture = training_picture(courses, out, tmp_path / f"{name}.png", "four teachers")
        assert picture.read_bytes().startswith(b"\x89PNG")


def test_one_teacher_below_the_bar_is_replaced_where_it_stands(tmp_path, monkeypatch):
    recipe = Recipe(teachers=3, workers=1)
    shards = [Teachers(3, 32).stacked(Teachers(1, 32).initial_weights(torch.Generator().manual_seed(0)))]
    first = shards[0]["0.weight"].clone()
    answers = [figures([1.0, 0.5, 1.0], [0.01, 0.5, 0.01]), figures([1.0], [0.02])]
    second = {name: torch.full_like(w[:1], 7.0) for name, w in shards[0].items()}
    monkeypatch.setattr(recipes, "teacher_report", lambda *a: answers.pop(0))
    monkeypatch.setattr(recipes, "retrain_teachers", lambda *a: second)
    screening.screen(recipe, {}, shards, tmp_path, lambda *a: None)
    _, taught = recipes.load_teachers(recipes.taught_path(tmp_path, 0))
    assert (taught["0.weight"][1] == 7.0).all() and torch.equal(taught["0.weight"][::2], first[::2])

"""control-stack verify: reports that hold, exit codes, pictures, and bad input in one line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from lipschitz_models import TRAINING, linear_model, random_model
from random_policy import random_weights

from control_stack.cli.main import main
from control_stack.foundation.runtime import GRUPolicy


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    random_model(1).save(path, training=TRAINING, figures={})
    return path


def box_file(folder: Path, content: object) -> str:
    path = folder / "box.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return str(path)


def named(**extra: object) -> dict:
    sides = {"x0 [m]": [-0.1, 0.1], "x1 [m]": [0.0, 0.2], "x2 [m]": [-0.1, 0.0], "u0 [N]": [-1, 1], "u1 [N]": [0, 0]}
    return {"box": {**sides, **extra}}


def test_actions_of_the_policy_stay_inside_the_report_whatever_its_hidden_state(tmp_path, capsys):
    path = random_weights(tmp_path)
    centre = np.zeros(22)
    centre[[3, 7, 11]] = 1.0  # upright
    box = {"lower": (centre - 0.05).tolist(), "upper": (centre + 0.05).tolist()}
    report = tmp_path / "report.json"
    assert (
        main(["verify", "policy", str(path), "--box", box_file(tmp_path, box), "--json", str(report), "--boxes", "8"])
        == 0
    )
    assert "raw action within [-1, 1]" in capsys.readouterr().out
    found = json.loads(report.read_text())
    assert report.with_suffix(".png").stat().st_size > 5000
    assert [c["name"] for c in found["channels"]][:2] == ["position_error.0 [m]", "position_error.1 [m]"]
    assert len(found["channels"]) == 38 and found["channels"][-1]["lower"] == -1.0
    random = np.random.default_rng(0)
    policy = GRUPolicy.load(path)
    observed = centre + random.uniform(-0.05, 0.05, (5000, 22))
    hidden = random.uniform(-1.0, 1.0, (5000, 16))
    action, after = policy.step(observed, hidden)
    other = observed + 0.01 * random.uniform(-1.0, 1.0, observed.shape)
    other = np.clip(other, centre - 0.05, centre + 0.05)
    for k, output in enumerate(found["outputs"]):
        assert output["lower"] - 1e-5 <= action[:, k].min() and action[:, k].max() <= output["upper"] + 1e-5
        assert output["interval_lower"] <= output["lower"] <= output["seen_lower"]
        moved = np.abs(policy.step(other, hidden)[0][:, k] - action[:, k])
        assert (moved <= np.abs(other - observed) @ np.array(output["gain"])[:22] + 1e-5).all()
    assert np.abs(after).max() <= 1.0


def test_next_states_of_a_model_stay_inside_the_report(model, tmp_path):
    report = tmp_path / "report.json"
    assert main(["verify", "model", str(model), "--box", box_file(tmp_path, named()), "--json", str(report)]) == 0
    found = json.loads(report.read_text())
    assert found["channels"][-1] == {"name": "p0 [kg]", "lower": 0.5, "upper": 0.5}  # the model's own
    assert found["local_gamma"] <= found["certificate"]["gamma"]
    sides = np.array([[c["lower"], c["upper"]] for c in found["channels"]])
    a = np.random.default_rng(0).uniform(sides[:, 0], sides[:, 1], (20_000, 6))
    after = random_model(1).step(a[:, :3], a[:, 3:5], a[:, 5:])
    for k, output in enumerate(found["outputs"]):
        assert output["lower"] <= after[:, k].min() and after[:, k].max() <= output["upper"]


@pytest.mark.parametrize(("size", "code", "status"), [(0.9, 0, "proved"), (1.1, 1, "refuted")])
def test_a_set_is_proved_or_refuted_and_the_exit_code_says_so(tmp_path, capsys, size, code, status):
    path = tmp_path / "linear.safetensors"
    linear_model(size * np.eye(2)).save(path, training=TRAINING, figures={})
    asked = {"invariant": {"half_width": [0.5, 2.0]}}
    report = tmp_path / "report.json"
    assert main(["verify", "model", str(path), "--box", box_file(tmp_path, asked), "--json", str(report)]) == code
    assert f"set: {status}" in capsys.readouterr().out
    found = json.loads(report.read_text())
    assert found["proved"] is (code == 0) and found["invariant"]["status"] == status
    assert (found["invariant"]["counterexample"] is None) == (code == 0)
    assert report.with_suffix(".png").is_file()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ({"lower": [0, 0], "upper": [1, 1]}, "lower has 2 numbers for 5 channels"),
        ({"lower": [0] * 5, "upper": [1] * 7}, "upper has 7 numbers for 5 channels"),
        ({"lower": [1] * 5, "upper": [0] * 5}, "input 0 is empty"),
        ({"box": {"x0 [m]": [0, 1]}}, "the box lacks x1 [m]"),
        (named(**{"wind": [0, 1]}), "the box names 'wind'"),
        (named(**{"x0 [m]": [0, 1, 2]}), "x0 [m]: expected [low, high]"),
        (named(**{"x0 [m]": [0, "a"]}), "expected a list of finite numbers"),
        ('{"lower": [NaN, 0, 0, 0, 0], "upper": [1, 1, 1, 1, 1]}', "expected a list of finite numbers"),
        ({"boxes": 3}, "unknown key 'boxes'"),
        ({}, "nothing to verify"),
        ("{", "not valid JSON"),
        ([1], "expected a JSON object"),
        ({"invariant": {"half_width": [1, 1]}}, "matrix has shape (2, 2), expected (3, 3)"),
        ({"invariant": {"shape": "ball", "half_width": [1, 1, 1]}}, "shape 'ball'"),
        ({"invariant": {"size": 1}}, "unknown key 'size'"),
        ({"invariant": {}}, "give either 'matrix'"),
        ({"invariant": {"matrix": [[1, 0, 0], [0, 1]]}}, "rows of different lengths"),
    ],
)  # fmt: skip
def test_bad_boxes_are_one_line_and_exit_code_2(model, tmp_path, capsys, content, reason):
    assert main(["verify", "model", str(model), "--box", box_file(tmp_path, content)]) == 2
    error = capsys.readouterr().err.strip()
    assert reason in error and "\n" not in error


def test_other_bad_input_is_refused(model, tmp_path, capsys):
    box = box_file(tmp_path, named())
    cases = [
        (["model", str(tmp_path / "none.safetensors"), "--box", box], "does not exist"),
        (["model", str(model), "--box", str(tmp_path / "none.json")], "does not exist"),
        (["model", str(random_weights(tmp_path)), "--box", box], "format is"),
        (["policy", str(model), "--box", box], "another architecture"),
        (["policy", "shipped", "--box", box], "the box names 'x0 [m]'"),
        (["policy", "shipped", "--box", box_file(tmp_path, {"invariant": {}})], "a policy alone has no invariant set"),
        (["model", str(model), "--box", box, "--boxes", "0"], "--boxes must be from 1"),
        (["model", str(model), "--box", box, "--json", str(tmp_path / "no" / "f.json")], "there is no folder"),
    ]
    for options, reason in cases:
        (tmp_path / "box.json").write_text(json.dumps(named() if "invariant" not in reason else {"invariant": {}}))
        assert main(["verify", *options]) == 2
        assert reason in capsys.readouterr().err


def test_a_policy_is_asked_about_22_observations(tmp_path, capsys):
    box = box_file(tmp_path, {"lower": [0.0] * 20, "upper": [0.0] * 20})
    assert main(["verify", "policy", str(random_weights(tmp_path)), "--box", box]) == 2
    assert "lower has 20 numbers for 22 channels" in capsys.readouterr().err


def test_a_layer_without_a_known_bound_is_refused(model, tmp_path, capsys):
    card = json.loads(model.with_suffix(".json").read_text())
    card["architecture"]["activation"] = "gelu"
    model.with_suffix(".json").write_text(json.dumps(card))
    assert main(["verify", "model", str(model), "--box", box_file(tmp_path, named())]) == 2
    assert "activation 'gelu' has no certificate" in capsys.readouterr().err


def test_the_example_proves_its_set_of_six_states(tmp_path, capsys):
    example = Path(__file__).resolve().parents[2] / "examples" / "prove_a_set.py"
    asked, report = tmp_path / "set.json", tmp_path / "report.json"
    subprocess.run([sys.executable, str(example), str(asked)], check=True, timeout=300)
    options = ["--box", str(asked), "--json", str(report)]
    assert main(["verify", "model", "shipped:planar-quadrotor", *options]) == 0
    assert "set: proved" in capsys.readouterr().out
    found = json.loads(report.read_text())["invariant"]
    assert found["seen"] <= found["reach"] <= 1.0 and len(found["center"]) == 6
    # eight times as large it reaches where the model bends too much to be proved, and is not called proved
    larger = json.loads(asked.read_text())
    larger["invariant"]["matrix"] = (8.0 * np.array(larger["invariant"]["matrix"])).tolist()
    asked.write_text(json.dumps(larger))
    assert main(["verify", "model", "shipped:planar-quadrotor", *options, "--boxes", "16"]) == 1

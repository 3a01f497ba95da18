"""Proofs at the start: a policy flies if the file's claim holds of its very weights, and is refused with the reason."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from lipschitz_models import TRAINING, linear_model, random_model
from random_policy import random_weights

from control_stack.cli.main import main
from control_stack.errors import InvalidInput
from control_stack.foundation.weights import load
from control_stack.learning.lipschitz.dynamics import LipschitzDynamics
from control_stack.quadrotor.parameters import load_vehicle
from control_stack.types import CommandLevel
from control_stack.verification import require_proof, verify_model, verify_policy
from controllers.loader import build_controller, check_proved

CENTRE = np.zeros(22)
CENTRE[[3, 7, 11]] = 1.0  # upright, at the setpoint
HOVER = {"lower": CENTRE.tolist(), "upper": CENTRE.tolist()}  # any hidden state
FR = "raw action of rotor FR [1]"


def written(folder: Path, name: str, content: dict) -> str:
    path = folder / name
    path.write_text(json.dumps(content))
    return str(path)


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    return random_weights(tmp_path_factory.mktemp("weights"))


@pytest.fixture(scope="module")
def reach(weights) -> float:
    """A bound on the first rotor's action that can be proved, barely."""
    first = verify_policy(weights, HOVER)["outputs"][0]
    return max(abs(first["lower"]), abs(first["upper"]))


def built(*names: str) -> dict:
    parameters = load_vehicle("crazyflie")
    return {name: build_controller(name, parameters, list(CommandLevel)) for name in names}


def test_a_claim_decides_whether_a_policy_may_fly(weights, reach, tmp_path):
    flown = built(f"foundation:{weights}", "geometric")
    check_proved(None, flown)
    check_proved(written(tmp_path, "a.json", {**HOVER, "within": {FR: [-reach, reach]}}), flown)
    narrow = written(tmp_path, "b.json", {**HOVER, "within": {FR: [-0.5 * reach, 0.5 * reach]}})
    with pytest.raises(InvalidInput, match=r"is not proved to do what was asked: raw action of rotor FR \[1\] reaches"):
        check_proved(narrow, flown)
    with pytest.raises(InvalidInput, match="no policy or model to be verified in geometric, lqr"):
        check_proved(narrow, built("geometric", "lqr"))
    with pytest.raises(InvalidInput, match="'within' names 'lift'; the outputs are raw action of rotor FR"):
        check_proved(written(tmp_path, "c.json", {**HOVER, "within": {"lift": [0, 1]}}), flown)


def test_a_report_is_of_one_set_of_weights(weights, reach, tmp_path, monkeypatch):
    report = tmp_path / "report.json"
    box = written(tmp_path, "box.json", {**HOVER, "within": {FR: [-reach, reach]}})
    assert main(["verify", "policy", str(weights), "--box", box, "--json", str(report)]) == 0
    monkeypatch.setattr("control_stack.verification.start.verify_policy", None)  # a report is compared, not proved anew
    check_proved(str(report), built(f"foundation:{weights}"))
    other = random_weights(tmp_path, seed=5)
    with pytest.raises(InvalidInput, match="a report of other weights than those of 'foundation:"):
        check_proved(str(report), built(f"foundation:{weights}", f"foundation:{other}"))
    model = tmp_path / "model.safetensors"
    random_model(1).save(model, training=TRAINING, figures={})
    with pytest.raises(InvalidInput, match="a report of a policy, but 'mine' runs a model"):
        require_proof(report, LipschitzDynamics.load(model), "mine")


def test_a_report_of_a_failed_proof_lets_nothing_fly(weights, reach, tmp_path, capsys):
    report = tmp_path / "report.json"
    box = written(tmp_path, "box.json", {**HOVER, "within": {FR: [-0.5 * reach, 0.5 * reach]}})
    assert main(["verify", "policy", str(weights), "--box", box, "--json", str(report)]) == 1
    assert "not proved" in capsys.readouterr().out
    with pytest.raises(InvalidInput, match=f"asked {-0.5 * reach:.4g} .. {0.5 * reach:.4g}"):
        require_proof(report, load(weights), "mine")
    honest = json.loads(report.read_text())
    with pytest.raises(InvalidInput, match="is not proved to do what was asked: the report says so"):
        require_proof(written(tmp_path, "bare.json", {**honest, "within": {}}), load(weights), "mine")


def test_models_are_held_to_ranges_and_sets(tmp_path):
    for size, holds in ((0.9, True), (1.1, False)):
        path = tmp_path / "linear.safetensors"
        model = linear_model(size * np.eye(2)).save(path, training=TRAINING, figures={})
        sides = {"lower": [-1.0, -1.0, 0.0], "upper": [1.0, 1.0, 0.0]}
        for asked, reason in (
            ({**sides, "within": {"next x0 [m]": [-1.0, 1.0]}}, r"next x0 \[m\] reaches -1.1 .. 1.1, asked -1 .. 1"),
            ({"invariant": {"half_width": [0.5, 2.0]}}, "the set is refuted, reach 1.1"),
        ):
            assert verify_model(model, asked)["proved"] is holds
            file = written(tmp_path, "asked.json", asked)
            if holds:
                assert require_proof(file, model, "mine")["sha256"] == model.card["sha256"]
                continue
            with pytest.raises(InvalidInput, match=reason):
                require_proof(file, model, "mine")
    with pytest.raises(InvalidInput, match="'within' is a claim about a box"):
        verify_model(model, {"within": {}, "invariant": {"half_width": [0.5, 2.0]}})


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{", "not valid JSON"),
        ("{}", "no box"),
        ('{"kind": "policy", "sha256": "0"}', "unknown key 'kind'"),
        ('{"kind": "policy", "sha256": "0", "proved": true}', "a report of other weights"),
        (None, "does not exist"),
    ],
)
def test_files_that_say_nothing_are_refused(weights, tmp_path, content, reason):
    file = tmp_path / "asked.json"
    if content is not None:
        file.write_text(content)
    with pytest.raises(InvalidInput, match=reason):
        require_proof(file, load(weights), "mine")


def test_weights_without_a_digest_match_no_report(weights, tmp_path):
    stored = load(weights)
    unsigned = replace(stored, card={k: v for k, v in stored.card.items() if k != "sha256"})
    report = written(tmp_path, "r.json", {"kind": "policy", "sha256": stored.card["sha256"], "proved": True})
    require_proof(report, stored, "mine")
    with pytest.raises(InvalidInput, match="a report of other weights"):
        require_proof(report, unsigned, "mine")


def test_fly_refuses_before_anything_starts_and_flies_what_is_proved(tmp_path, capsys):
    from control_stack.cli.main import main as run

    options = ["fly", "--backend", "analytic", "--no-ros", "--trajectory", "hover:duration=1"]
    narrow = written(tmp_path, "narrow.json", {**HOVER, "within": {FR: [-0.01, 0.01]}})
    out = tmp_path / "run"
    assert run([*options, "--verify", narrow, "--out", str(out)]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "'foundation' is not proved to do what was asked" in line and not out.exists()
    assert run([*options, "--verify", narrow, "--controller", "geometric", "--out", str(out)]) == 2
    assert "no policy or model to be verified in geometric" in capsys.readouterr().err
    wide = written(tmp_path, "wide.json", {**HOVER, "within": {FR: [-1000, 1000]}})
    assert run([*options, "--verify", wide, "--out", str(out)]) == 0
    assert "verify: " in (out / "config.yaml").read_text()

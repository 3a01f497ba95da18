"""Figures of the Lipschitz pages are the report's, and finished studies of imitation get into the package."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from control_stack.artefacts import tensors as artefact
from control_stack.errors import InvalidInput
from control_stack.learning.imitation import demonstrations, networks, policy_file
from control_stack.learning.imitation.tasks import TASKS

ROOT = Path(__file__).resolve().parents[2]


def script(name: str):
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def test_the_pages_have_the_figures_of_the_report_or_say_that_there_is_none():
    tool = script("lipschitz_figures")
    report = json.loads(tool.REPORT.read_text(encoding="utf-8")) if tool.REPORT.is_file() else None
    for page in tool.PAGES:
        assert tool.figures(report, page) in (ROOT / "docs" / page).read_text(encoding="utf-8"), page


def test_every_row_is_on_one_page_and_a_miss_is_told():
    tool = script("lipschitz_figures")

    def row(test: str, holds: bool | None = None, **more):
        return {"test": test, "metric": "m", "value": 1.5, "unit": "s", "target": None if holds is None else "<= 1",
                "peer": None, "interval": None, "peer_interval": None, "holds": holds, **more}  # fmt: skip

    rows = [
        row("cartpole, at the same proved gamma", False, peer=2.0, interval=[1.0, 2.0]),
        row("filter, 300 seeds"), row("8 crossing, 400 paired seeds", True),
        row("imitation, hopper, shipped", value=None), row("anything else"),
    ]  # fmt: skip
    assert sum(len(tool.of_page(rows, page)) for page in tool.PAGES) == len(rows)
    report = {"machine": {"cpu": "c", "cores": 2}, "git_revision": "r", "rows": rows}
    text = tool.figures(report, "lipschitz.md")
    assert "0 of the 1 figures with a target meet it." in text
    assert "| cartpole, at the same proved gamma | m, s | 1.500 (1.000 .. 2.000) | 2.000 | <= 1 | **no** |" in text
    assert "1 of the 1" in tool.figures(report, "safety.md") and "| - | - | - | - |" in tool.figures(
        report, "imitation.md"
    )


def test_a_finished_study_is_shipped_and_another_is_not(tmp_path):
    tool, study, models = script("ship_imitation"), tmp_path / "study", tmp_path / "models"
    study.mkdir()
    models.mkdir()
    with pytest.raises(InvalidInput, match="no finished study"):
        tool.ship(study, models)
    (study / "fit.json").write_text(json.dumps({"task": "quadrotor"}))
    (study / "summary.json").write_text("{}")
    sizes, random = (22, 4, 4, 4), np.random.default_rng(0)
    policy_file.save(
        study / "policies.safetensors", "quadrotor", np.zeros((1, networks.count(sizes))),
        policy_file.Scales(np.zeros(22), np.ones(22)), sizes, [{"arm": "both", "seed": 0}],
        {"command": "c", "seed": 0, "git_revision": "r", "wall_time_s": 1.0, "hardware": {}}, {},
    )  # fmt: skip
    with pytest.raises(InvalidInput):
        tool.ship(study, models)
    assert not list(models.iterdir())
    tensors = {"observations": random.normal(size=(9, 22)), "actions": np.zeros((9, 4)), "mean": np.zeros(22),
               "scale": np.ones(22)}  # fmt: skip
    card = {"format": demonstrations.FORMAT, "task": "quadrotor", **policy_file.spaces(TASKS["quadrotor"]),
            "expert": {}, "expert_returns": [480.0], "chance_returns": [20.0]}  # fmt: skip
    artefact.write(study / "demonstrations.safetensors", tensors, card)
    shipped = tool.ship(study, models)
    assert {path.name for path in shipped} == {path.name for path in models.iterdir()}
    assert demonstrations.load(models / "imitation-quadrotor-demonstrations.safetensors", "quadrotor").expert == 480.0
    policy_file.load(models / "imitation-quadrotor-policies.safetensors", "quadrotor")

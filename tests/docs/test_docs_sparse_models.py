"""docs/sparse_models.md: its Python runs on a model of the task it names."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from control_stack.learning.sparse_relu import GatedLayer, SparseReLUDynamics
from sim.tasks.planar import planar_spec

PAGE = Path(__file__).resolve().parents[2] / "docs" / "sparse_models.md"


def test_the_example_runs(tmp_path, monkeypatch, capsys):
    random = np.random.default_rng(0)
    hidden = GatedLayer({0: random.standard_normal((16, 6))}, random.standard_normal(16), ("relu",) * 16)
    out = GatedLayer({1: 0.01 * random.standard_normal((4, 16))}, np.zeros(4), ("identity",) * 4)
    model = SparseReLUDynamics(planar_spec("pushing-disc", ("centre",), 0.1), (hidden, out))
    (tmp_path / "fit" / "disc").mkdir(parents=True)
    training = dict.fromkeys(("command", "seed", "git_revision", "wall_time_s", "hardware"))
    model.save(tmp_path / "fit" / "disc" / "model.safetensors", training=training, figures={})
    monkeypatch.chdir(tmp_path)
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.S)
    exec(compile(code, str(PAGE), "exec"), {})
    assert capsys.readouterr().out == "(6, 4) 16\nTrue\n"

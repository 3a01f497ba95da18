"""docs/mip_planning.md and docs/branch_and_bound.md: their Python runs on a model of the task they name."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sampling_toys import head_on, saved


def test_the_example_runs(page: Callable, tmp_path, monkeypatch, capsys) -> None:
    pytest.importorskip("highspy")
    (tmp_path / "fit" / "disc").mkdir(parents=True)
    saved(head_on(), tmp_path / "fit" / "disc" / "model.safetensors")
    monkeypatch.chdir(tmp_path)
    exec(page("mip_planning").blocks("python")[0], {})
    status, better, bounded = capsys.readouterr().out.split()
    assert status in ("optimal", "feasible", "start", "failed") and better == bounded == "True"


def test_the_example_of_branch_and_bound_runs(page: Callable, capsys) -> None:
    pytest.importorskip("torch")
    exec(page("branch_and_bound").blocks("python")[0], {})
    status, bounded, nodes, better = capsys.readouterr().out.split()
    assert status in ("optimal", "feasible") and bounded == better == "True" and int(nodes) > 0

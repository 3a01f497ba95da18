"""docs/tasks.md: its code runs, its log is one that is read, and every task has its row and a small picture."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from control_stack.cli.collect import TASKS as OFFERED
from control_stack.learning.data import load
from sim.tasks.factory import TASKS


def test_the_code_runs(page: Callable[[str], Any], capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("pybullet")
    (code,) = page("tasks").blocks("python")
    exec(compile(code, "docs/tasks.md", "exec"), {})
    cost, reached = capsys.readouterr().out.split()
    assert float(cost) > 0.0 and reached == "False"


def test_the_log_is_read(page: Callable[[str], Any], tmp_path: Path) -> None:
    (text,) = [block for block in page("tasks").blocks("") if block.startswith("episode")]
    (tmp_path / "log.csv").write_text(text, encoding="utf-8")
    found = load(tmp_path / "log.csv")
    assert found.spec.inputs == ("force [N]",) and found.spec.dt == 0.05 and found.steps == 2


def test_every_task_is_offered_and_has_its_row_and_picture(page: Callable[[str], Any]) -> None:
    found = page("tasks")
    assert [row["task"] for row in found.table("What there is")] == list(TASKS) == list(OFFERED)
    for name in re.findall(r"\(tasks/([\w-]+)\.png\)", found.text):
        assert name in TASKS and (found.path.parent / "tasks" / f"{name}.png").stat().st_size < 80_000
    assert found.text.count(".png)") == len(TASKS)

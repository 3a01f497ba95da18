"""docs/safety.md: its scene is read as it stands, and its program runs and ends as it says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from control_stack.safety.barrier.scene import BarrierGains, load_scene, parse_scene

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "safety.md").read_text(encoding="utf-8")


def test_the_scene_of_the_page_is_that_of_the_example_with_the_default_gains():
    (text,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.S)
    assert parse_scene(text, "page") == load_scene(ROOT / "examples" / "scene.yaml")
    assert parse_scene(text, "page").gains == BarrierGains()
    keys = set(yaml.safe_load(text)) - {"name"}
    assert keys == set(re.findall(r"^\| `(\w+)` \|", PAGE, re.M))


def test_the_program_of_the_page_changes_the_second_command(capsys):
    pytest.importorskip("daqp")
    (text,) = re.findall(r"```python\n(.*?)```", PAGE, re.S)
    exec(text, {})
    assert capsys.readouterr().out.strip().endswith("changed")

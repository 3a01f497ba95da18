"""docs/safety.md: its scene is read as it stands, and its program runs and ends as it says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from control_stack.safety.barrier.pairs import HIGHEST, LOWEST
from control_stack.safety.barrier.scene import BarrierGains, load_scene, parse_scene

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "safety.md").read_text(encoding="utf-8")


def test_the_scene_of_the_page_is_that_of_the_example_with_the_default_gains():
    (text,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.S)
    assert parse_scene(text, "page") == load_scene(ROOT / "examples" / "scene.yaml")
    assert parse_scene(text, "page").gains == BarrierGains()
    keys = set(yaml.safe_load(text)) - {"name"}
    assert keys == set(re.findall(r"^\| `(\w+)` \|", PAGE, re.M))


def test_the_programs_of_the_page_change_the_second_command_and_ask_for_a_gain(capsys):
    pytest.importorskip("daqp")
    alone, among_others = re.findall(r"```python\n(.*?)```", PAGE, re.S)
    names: dict[str, Any] = {}
    exec(alone, names)
    assert capsys.readouterr().out.strip().endswith("changed")
    exec(among_others, names)
    gains = names["asked"].gains
    assert LOWEST <= gains[0] <= HIGHEST and str(gains.round(1)) in capsys.readouterr().out

"""docs/bring_your_own_controller.md: its code flies, and what goes wrong goes wrong as it says."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest

from control_stack import types
from control_stack.types import CommandLevel, QuadrotorState, Reference
from controllers.base import BaseController
from controllers.loader import load_controller

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "my_controller.py"
RETURN = "        return AttitudeThrustCommand("


@pytest.fixture
def code(page: Callable) -> str:
    (text,) = page("bring_your_own_controller").blocks("python")
    return text


@pytest.mark.parametrize("backend", ["analytic", "bullet"])
def test_the_code_of_the_page_flies(code: str, fly: Callable, tmp_path: Path, backend: str) -> None:
    if backend == "bullet":
        pytest.importorskip("pybullet")
    (tmp_path / "my_controller.py").write_text(code, encoding="utf-8")
    flight = fly("--controller", "my_controller.py:MyController", "--backend", backend, "--trajectory", "eight:laps=1")
    assert flight.code == 0 and flight.summary["landed_upright"] and flight.summary["completed"]
    assert flight.summary["level"] == "attitude" and flight.summary["position_rmse_m"] < 0.15


def test_the_page_shows_the_example(code: str) -> None:
    assert code == EXAMPLE.read_text(encoding="utf-8")


def test_a_controller_that_raises_is_landed_and_named(
    code: str, fly: Callable, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = code.replace(RETURN, "        if t > 5.0:\n            raise RuntimeError('no idea')\n" + RETURN)
    (tmp_path / "my_controller.py").write_text(broken, encoding="utf-8")
    flight = fly("--controller", "my_controller.py:MyController", "--backend", "analytic")
    assert flight.code == 1 and flight.summary["landed_upright"]
    line = 1 + broken.splitlines().index("            raise RuntimeError('no idea')")
    aborted = capsys.readouterr().err.strip().splitlines()[-1]
    assert aborted.startswith("aborted: controller '")
    assert aborted.endswith(f"failed: RuntimeError: no idea (my_controller.py, line {line})")


@pytest.mark.parametrize(("answer", "reason"), [("attitude * float('nan')", "nan"), ("None", "type")])
def test_an_answer_that_cannot_be_flown_is_counted_and_landed(
    code: str, fly: Callable, tmp_path: Path, answer: str, reason: str
) -> None:
    bad = answer if answer == "None" else f"AttitudeThrustCommand({answer}, thrust)"
    broken = code.replace(RETURN, f"        if t > 5.0:\n            return {bad}\n" + RETURN)
    (tmp_path / "my_controller.py").write_text(broken, encoding="utf-8")
    flight = fly("--controller", "my_controller.py:MyController", "--backend", "analytic")
    assert flight.code == 1 and flight.summary["landed_upright"]
    assert flight.summary["rejections"][f"command/{reason}"] > 100
    names = [event["name"] for event in flight.summary["events"]]
    assert names[-3:] == ["command_timeout", "landing", "landed"]


def test_every_level_and_its_fields_are_in_the_table(page: Callable) -> None:
    rows = {row["level"]: row for row in page("bring_your_own_controller").table("What goes out")}
    assert set(rows) == {level.name for level in CommandLevel if level is not CommandLevel.JOINTS}
    for level, row in rows.items():
        command = getattr(types, row["command"])
        assert command.level is CommandLevel[level]
        fields = {field.name for field in dataclasses.fields(command)} - {"stamp"}
        assert fields <= set(row["fields"].replace(",", " ").split())


def test_every_field_that_comes_in_is_in_the_table(page: Callable) -> None:
    text = page("bring_your_own_controller").section("What comes in")
    for kind in (QuadrotorState, Reference):
        for field in dataclasses.fields(kind):
            assert f"`{field.name}`" in text


def test_the_interface_is_the_one_of_the_base(page: Callable) -> None:
    members = {
        r["member"].split("(")[0].strip() for r in page("bring_your_own_controller").table("The rest of the interface")
    }
    assert all(name == "last_result" or hasattr(BaseController, name) for name in members)
    public = {name for name in vars(BaseController) if not name.startswith("_")}
    assert public - members <= {"levels", "spec"}
    assert load_controller(f"{EXAMPLE}:MyController").warm_up == 10

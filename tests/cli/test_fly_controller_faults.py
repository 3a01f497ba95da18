"""``control-stack fly --no-ros`` with a user's controller that exits, breaks its word or lets the vehicle fall."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

HEAD = """
import sys
import numpy as np
from control_stack.types import CommandLevel, RatesThrustCommand
from controllers.geometric import GeometricController

class Mine(GeometricController):
    levels = (CommandLevel.ROTORS,)

    def __call__(self, t, state, reference):
        if t < 4.0:
            return super().__call__(t, state, reference)
"""


CONSTRUCTOR = "    def __init__(self, *arguments):\n        sys.exit()\n\n"


@pytest.fixture
def mine(fly: Callable, tmp_path: Path) -> Callable:
    """mine(text) flies a hover with the class Mine of a file of this text."""

    def run(text: str):
        file = tmp_path / "mine.py"
        file.write_text(text.lstrip("\n"), encoding="utf-8")
        return fly("--controller", f"{file}:Mine", "--trajectory", "hover:duration=5")

    return run


@pytest.mark.parametrize(("code", "told"), [("3", "3"), ("", ""), ("'enough'", "enough")])
def test_exit_in_flight_is_landed_and_named(mine: Callable, code: str, told: str) -> None:
    done = mine(HEAD + f"        sys.exit({code})\n")
    assert done.code == 1
    assert f"failed: SystemExit: {told} (mine.py, line 12)" in done.err.replace("None", "")
    assert len(done.err.splitlines()) == 1
    assert done.events[-4:] == ["controller_failed", "command_timeout", "landing", "landed"]
    assert done.summary["landed_upright"] and not done.summary["completed"]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("import sys\nsys.exit(0)\n", 2),
        (HEAD.replace("    def __call__", CONSTRUCTOR + "    def __call__"), 10),
    ],
    ids=["import", "constructor"],
)
def test_exit_before_the_flight_is_bad_input(mine: Callable, text: str, line: int) -> None:
    done = mine(text)
    assert done.code == 2 and not done.folder.exists()
    (said,) = done.err.splitlines()
    assert f"mine.py, line {line}: SystemExit" in said


def test_a_level_that_was_not_declared_is_not_flown(mine: Callable) -> None:
    done = mine(HEAD + "        return RatesThrustCommand(np.zeros(3), 0.0)\n")
    assert done.code == 1 and done.err == "failed: the trajectory was not flown to its end\n"
    assert set(done.summary["rejections"]) == {"command/level"} and done.summary["rejections"]["command/level"] > 100
    assert done.events[-4:] == ["command_refused", "command_timeout", "landing", "landed"]
    assert "level: ctbr, but controller" in done.out and "declares rotors" in done.out
    assert done.summary["landed_upright"] and not done.summary["fell"] and done.summary["level"] == "rotors"
    assert done.record.position_w[:, 2].min() > 0.01


def test_a_fall_is_neither_completed_nor_a_landing(mine: Callable) -> None:
    """A level it did declare, without thrust: the vehicle drops and lies there, upright, until the time is over."""
    text = HEAD.replace("(CommandLevel.ROTORS,)", "(CommandLevel.CTBR,)")
    done = mine(text + "        return RatesThrustCommand(np.zeros(3), 0.0)\n")
    assert done.code == 1 and done.err == "failed: the vehicle fell to the ground in flight\n"
    assert done.summary["fell"] is True
    assert done.summary["completed"] is False and done.summary["landed_upright"] is False
    assert done.events[-1] == "landed" and not done.summary["rejections"]


def test_a_path_that_leads_to_the_ground_is_no_fall(fly: Callable, tmp_path: Path) -> None:
    rows = [(0, 1.0), (2, 0.6), (4, 0.2), (6, 0.03), (7, 0.03), (9, 0.5)]
    (tmp_path / "low.csv").write_text("t,x,y,z\n" + "".join(f"{t},0,0,{z}\n" for t, z in rows))
    done = fly("--trajectory", "low.csv")
    assert done.code == 0 and done.summary["fell"] is False and done.summary["completed"] is True


def test_a_namespace_is_flown_and_reported(fly: Callable) -> None:
    done = fly("--namespace", "lab/one", "--controller", "geometric", "--trajectory", "hover:duration=1")
    assert done.code == 0 and done.err == ""
    assert done.summary["landed_upright"] and done.summary["completed"] and done.summary["position_rmse_m"] < 0.1

"""``control-stack fly --filter``: a flight through a scene, what it leaves behind, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("daqp")
SCENE = """
name: yard
fence: {x: [-0.8, 0.6], y: [-1, 1], z: [0.3, 1.5]}
obstacles: [{cylinder: [-0.7, -0.4], radius: 0.2}]
margin: {wind: 2.0}
"""


@pytest.fixture
def scene(tmp_path: Path) -> str:
    file = tmp_path / "yard.yaml"
    file.write_text(SCENE, encoding="utf-8")
    return str(file)


@pytest.mark.parametrize("level", ["rotors", "ctbr"])
def test_a_trajectory_through_walls_is_flown_inside_them(fly, scene, level):
    done = fly("--controller", "geometric", "--level", level, "--filter", scene, "--trajectory", "eight:laps=1",
               "--wind", "1,0,0")  # fmt: skip
    assert done.code == 0 and done.summary["level"] == level
    assert done.summary["least_distance_m"] > 0.0
    assert done.summary["filter_changed"] > 100 and done.summary["filter_fallback"] == 0
    assert {"filter_changed", "filter_quiet"} <= set(done.events)
    assert "commands changed by the filter" in done.out
    assert (done.folder / "flight.png").stat().st_size > 20_000


def test_the_planner_with_the_filter_inside_is_told_the_scene(fly, scene):
    done = fly("--controller", "gp_cem", "--fallback", "geometric", "--filter", scene, "--trajectory",
               "hover:duration=2", "--wind", "1,0,0")  # fmt: skip
    assert done.code == 0 and done.summary["level"] == "ctbr"
    assert done.summary["controller"] == f"gp_cem:filter={scene}"
    assert done.summary["least_distance_m"] > 0.0 and done.summary["filter_fallback"] == 0
    assert done.summary["position_max_error_m"] < 0.06  # at hand-over nothing jumps


def test_a_flight_that_needs_no_filter_is_the_same_with_one(fly, tmp_path):
    wide = tmp_path / "wide.yaml"
    wide.write_text("name: wide\nfence: {x: [-9, 9]}\n", encoding="utf-8")
    options = ("--controller", "geometric", "--trajectory", "hover:duration=2")
    plain = fly(*options)
    record = plain.record
    guarded = fly(*options, "--filter", str(wide), "--out", str(tmp_path / "guarded"))
    assert guarded.code == plain.code == 0
    from control_stack.artefacts.record import read_flight

    again = read_flight(tmp_path / "guarded" / "flight.mcap", states="ground_truth")
    assert (again.position_w == record.position_w).all()


MINE = """
import numpy as np
from control_stack.types import CommandLevel, VelocityCommand
from controllers.base import BaseController

class Mine(BaseController):
    levels = (CommandLevel.VELOCITY,)

    def __call__(self, t, state, reference):
        return VelocityCommand(np.zeros(3))
"""


@pytest.mark.parametrize(
    ("text", "options", "fragments"),
    [
        ("name: a\nfences: {}\n", [], ["unknown key in", "'fences'", "fence"]),
        ("name: a\nfence: {x: [0.5, 3]}\n", [], ["the place at the end of the take-off", "is outside its fence"]),
        ("name: a\nobstacles: [{sphere: [0, 0, 1], radius: 0.3}]\n", [], ["from obstacle 0"]),
        ("name: a\nlimits: {acceleration: 9}\n", [], ["accelerates", "braking takes 9.00 m/s^2"]),
        ("name: a\n", ["--controller", "mine.py:Mine"], ["velocity", "loops on board close it"]),
        (None, [], ["scene file", "does not exist"]),
    ],
)
def test_what_cannot_be_guarded_is_refused_before_anything_starts(fly, tmp_path, text, options, fragments):
    (tmp_path / "mine.py").write_text(MINE, encoding="utf-8")
    file = tmp_path / "scene.yaml"
    if text is not None:
        file.write_text(text, encoding="utf-8")
    done = fly("--controller", "geometric", "--filter", str(file), *options)
    assert done.code == 2 and not done.folder.exists()
    (line,) = done.err.splitlines()
    for fragment in fragments:
        assert fragment in line

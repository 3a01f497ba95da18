"""Scene files: what is read, and what is refused with file, key and reason."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from control_stack.errors import InvalidInput, UnknownName
from control_stack.safety.barrier.scene import load_scene, parse_scene

EXAMPLE = Path(__file__).parents[2] / "examples" / "scene.yaml"


def test_distances_are_those_of_the_shapes():
    scene = parse_scene(
        """
        name: shapes
        obstacles:
          - {sphere: [1, 0, 0], radius: 0.25}
          - {cylinder: [0, 4], radius: 0.5, z: [-1, 1]}
          - {box: [[-3, -1, -1], [-2, 1, 1]]}
        """,
        "here",
    )
    places = np.array([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 3.0, 0.5], [-2.5, 0.0, 0.0], [-1.0, 2.0, 0.0]])
    expected = [0.75, -0.25, 0.5, -0.5, np.sqrt(2.0)]
    np.testing.assert_allclose(scene.clearance(places), expected, atol=1e-12)


def test_the_example_is_a_scene_with_every_shape():
    scene = load_scene(EXAMPLE)
    assert len(scene.obstacles) == 3 and scene.bounds.speed == 2.0 and scene.fence.z == (0.3, 2.0)


@pytest.mark.parametrize(
    ("text", "error", "fragment"),
    [
        ("name: a\nfences: {}", UnknownName, "unknown key in here 'fences'"),
        ("name: a\nlimits: {sped: 1}", UnknownName, "did you mean 'speed'"),
        ("name: a\nfence: {w: [0, 1]}", UnknownName, "'w'"),
        ("name: a\nfence: {x: [1, 0]}", InvalidInput, "x must be [lowest, highest], got [1, 0]"),
        ("name: a\nfence: {x: [0, .nan]}", InvalidInput, "finite"),
        ("name: a\nlimits: {speed: -1}", InvalidInput, "limits: speed must be a finite number of at least 0.001"),
        ("name: a\nmargin: {wind: fast}", InvalidInput, "margin: wind must be a finite number"),
        ("name: a\nobstacles: {sphere: 1}", InvalidInput, "obstacles must be a list"),
        ("name: a\nobstacles: [{cone: [0, 0, 0]}]", InvalidInput, "obstacle 0 must be a mapping with one of sphere"),
        ("name: a\nobstacles: [{sphere: [0, 0], radius: 1}]", InvalidInput, "must be a list of 3 numbers"),
        ("name: a\nobstacles: [{sphere: [0, 0, 0]}]", InvalidInput, "radius is missing"),
        ("name: a\nobstacles: [{sphere: [0, 0, 0], radius: 1, z: [0, 1]}]", UnknownName, "'z'"),
        ("name: a\nobstacles: [{box: [[0, 0, 0], [1, 0, 1]]}]", InvalidInput, "below the second"),
        ("fence: {x: [0, 1]}", InvalidInput, "'name'"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_its_place(text, error, fragment):
    with pytest.raises(error) as caught:
        parse_scene(text, "here")
    assert fragment in str(caught.value) and "here" in str(caught.value)


def test_a_start_outside_is_refused_with_the_place():
    scene = load_scene(EXAMPLE)
    scene.check_inside(np.array([0.0, 0.0, 1.0]), 0.07, "the start")
    with pytest.raises(InvalidInput, match="outside its fence, -1.5 to 1.5 m in x"):
        scene.check_inside(np.array([1.6, 0.0, 1.0]), 0.07, "the start")
    with pytest.raises(InvalidInput, match="from obstacle 0"):
        scene.check_inside(np.array([-0.6, -0.2, 1.0]), 0.07, "the start")

"""The rope: its length is kept, it is not stiff, it does not fold flat, and its two ends are alike."""

from __future__ import annotations

import numpy as np
import pytest

from control_stack.errors import InvalidInput
from sim.tasks.collect import explore
from sim.tasks.planar import world_keypoints
from sim.tasks.rope import KEYPOINTS, LINK, RADIUS, SHARPEST, RopeTask
from sim.tasks.world import PUSHER_RADIUS

pytest.importorskip("pybullet")
LINE = np.stack([LINK * (np.arange(KEYPOINTS) - (KEYPOINTS - 1) / 2.0), np.zeros(KEYPOINTS)], axis=1)


@pytest.fixture
def rope():
    task = RopeTask()
    yield task
    task.close()


def state_of(points, pusher):
    pusher = np.array(pusher, dtype=float)
    return np.concatenate([pusher, (points - pusher).ravel()])


def bends(points):
    along = np.diff(points, axis=-2)
    angles = np.unwrap(np.arctan2(along[..., 1], along[..., 0]))
    return np.diff(angles)


def test_its_length_is_kept_whatever_is_done_to_it(rope):
    for states, _, contact in explore(rope, 8, 0, 2, 30):
        points = world_keypoints(states)
        np.testing.assert_allclose(np.linalg.norm(np.diff(points, axis=1), axis=2), LINK, atol=1e-12)
        assert contact.any()


def test_a_push_in_the_middle_bends_it_and_drags_the_ends_behind(rope):
    x = rope.set_state(state_of(LINE, (0.0, -(RADIUS + PUSHER_RADIUS + 0.001))))
    for _ in range(6):
        x = rope.step([0.0, 0.2])
    points = world_keypoints(x)
    assert points[4:6, 1].min() > 0.1 and np.abs(points[[0, -1], 1]).max() < 0.05
    assert abs(points[0, 0]) < abs(LINE[0, 0]) - 0.01  # the ends come nearer to each other
    # Mirror symmetry up to the solver: 3 mm of 12 cm.
    np.testing.assert_allclose(points[::-1] * (-1.0, 1.0), points, atol=3e-3)


def test_a_pushed_end_leaves_the_other_where_it_is_not_pulled(rope):
    x = rope.set_state(state_of(LINE, (LINE[-1, 0], -(RADIUS + PUSHER_RADIUS))))
    x = rope.step([0.0, 0.2])
    moved = np.linalg.norm(world_keypoints(x) - LINE, axis=1)
    assert moved[-1] > 0.015 and moved[0] < 1e-3 and np.all(np.diff(moved[2:]) > -1e-3)


def test_joints_do_not_fold_beyond_the_limit(rope):
    """Two neighbouring links closed like a book."""
    angles = np.concatenate([np.zeros(4), np.full(5, SHARPEST - 0.1)])
    links = LINK * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    points = np.vstack([np.zeros(2), np.cumsum(links, axis=0)])
    tip = points[-1]
    x = rope.set_state(state_of(points, tip + (0.02, 0.02)))
    for _ in range(8):
        x = rope.step([-0.3, -0.05])
        assert np.abs(bends(world_keypoints(x))).max() < SHARPEST + 0.05


def test_no_such_rope_is_refused(rope):
    with pytest.raises(InvalidInput, match="rope_9 is .* mm off"):
        rope.set_state(state_of(LINE * 1.05, (0.0, -0.1)))

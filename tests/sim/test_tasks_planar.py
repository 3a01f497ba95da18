"""Pushing: what is not touched rests, pushes through the centre go straight, mirrored pushes mirror, and off the centre
the motion is that of quasi-static pushing by hand."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from control_stack.errors import InvalidInput
from sim.tasks.planar import HALF, SPEED, world_keypoints
from sim.tasks.pushing import SHAPES, PushingTask
from sim.tasks.shapes import box, disc, placed, tee
from sim.tasks.sorting import RADIUS, SortingTask
from sim.tasks.world import FRICTION, PUSHER_RADIUS

pytest.importorskip("pybullet")
every_shape = pytest.mark.parametrize("name", SHAPES)
DT = 0.1


@pytest.fixture
def pushing():
    made = []

    def make(name):
        made.append(PushingTask(name))
        return made[-1]

    yield make
    for task in made:
        task.close()


def state_at(task, pose, pusher):
    points = placed(task.shape.keypoints, np.array(pose, dtype=float))
    return np.concatenate([pusher, (points - pusher).ravel()])


def pose_of(task, x):
    return task.shape.pose(world_keypoints(x))


@every_shape
def test_what_is_not_touched_rests(pushing, name):
    task = pushing(name)
    before = task.set_state(state_at(task, (0.1, 0.05, 0.4), np.array([-0.2, -0.2])))
    for u in np.random.default_rng(0).uniform(-SPEED, SPEED, (10, 2)):
        after = task.step(np.clip(u, None, 0.05))
        assert not task.contact
        np.testing.assert_allclose(world_keypoints(after), world_keypoints(before), atol=1e-15)


@every_shape
def test_the_pusher_moves_as_told_with_and_without_contact(pushing, name):
    task = pushing(name)
    x = task.set_state(state_at(task, (0.0, 0.0, 0.0), np.array([-0.11, 0.0])))
    for u in ([0.2, 0.0], [0.3, 0.01], [0.3, -0.02], [-0.1, 0.2]):
        following = task.step(u)
        np.testing.assert_allclose(following[:2], x[:2] + DT * np.array(u), atol=1e-15)
        x = following


@every_shape
def test_the_pusher_stays_on_the_table(pushing, name):
    task = pushing(name)
    task.set_state(state_at(task, (0.0, 0.0, 0.0), np.array([0.29, -0.29])))
    x = task.step([0.3, -0.2])
    np.testing.assert_allclose(x[:2], [HALF, -HALF], atol=1e-12)
    np.testing.assert_allclose(task.applied, [0.1, -0.1], atol=1e-12)


@pytest.mark.parametrize("course", [0.0, 0.7, 2.0, -2.6])
def test_a_push_through_the_centre_moves_a_disc_straight_ahead_of_the_pusher(pushing, course):
    task = pushing("pushing-disc")
    along = np.array([np.cos(course), np.sin(course)])
    gap = task.shape.radius + PUSHER_RADIUS
    x = task.set_state(state_at(task, (0.0, 0.0, 0.0), -(gap + 0.005) * along))
    for _ in range(5):
        x = task.step(0.2 * along)
    centre = world_keypoints(x)[0]
    across = np.array([-along[1], along[0]])
    assert abs(centre @ across) < 2e-4  # of 9.5 cm: a push through the centre is an unstable balance
    assert (centre - x[:2]) @ along == pytest.approx(gap, abs=2e-4)


@every_shape
def test_mirrored_pushes_mirror(pushing, name):
    task, other = pushing(name), pushing(name)
    pose, pusher = np.array([0.02, 0.0, 0.3]), np.array([-0.06, 0.055])
    if name == "pushing-t":  # its own mirror axis is y
        flip = np.array([-1.0, 1.0])
        mirrored_pose = pose * (-1.0, 1.0, -1.0)
    else:
        flip = np.array([1.0, -1.0])
        mirrored_pose = pose * (1.0, -1.0, -1.0)
    x, y = task.set_state(state_at(task, pose, pusher)), other.set_state(state_at(other, mirrored_pose, pusher * flip))
    moved = 0.0
    for u in ([0.2, -0.1], [0.2, -0.15], [0.25, 0.0], [0.2, 0.05]):
        x, y = task.step(u), other.step(np.array(u) * flip)
        a, b = pose_of(task, x), pose_of(other, y)
        np.testing.assert_allclose(a[:2] * flip, b[:2], atol=2e-4)
        assert a[2] + b[2] == pytest.approx(0.0, abs=5e-3) or name == "pushing-disc"
        moved = np.linalg.norm(a[:2] - pose[:2])
    assert moved > 0.01


@pytest.mark.parametrize("offset", [0.0, 0.01, -0.02, 0.03])
def test_a_box_moves_as_quasi_static_pushing_by_hand(pushing, offset):
    """A pusher touches the left edge at r = (-h, b) and moves along x. A force f at r gives the twist
    (f, (r x f) / c^2) up to a factor. If the pusher sticks, r moves as it does: two equations for f. If that f is
    outside the cone of friction the pusher slips: f lies on the border, and r moves along x as the pusher does.
    """
    task = pushing("pushing-box")
    half, c, speed = 0.04, task.shape.friction_length, 0.02
    r = np.array([-half, offset])
    across = np.array([-r[1], r[0]])  # the velocity of r when turning at 1 rad/s
    mobility = np.eye(2) + np.outer(across, across) / c**2
    force = np.linalg.solve(mobility, [speed, 0.0])
    if abs(force[1]) > FRICTION * force[0]:
        border = np.array([1.0, np.sign(force[1]) * FRICTION])
        force = border * speed / (mobility[0] @ border)
    task.set_state(state_at(task, (0.0, 0.0, 0.0), r - (PUSHER_RADIUS, 0.0)))
    found, way = pose_of(task, task.step([speed, 0.0])), DT * speed
    np.testing.assert_allclose(found[:2], DT * force, atol=0.03 * way)
    assert found[2] == pytest.approx(DT * across @ force / c**2, abs=0.05 * way / c)


def test_slipping_keeps_to_the_cone_of_friction(pushing):
    """Sliding down an edge faster than friction can follow: the force lies on the cone's border."""
    task = pushing("pushing-box")
    r = np.array([-0.04, 0.0])
    task.set_state(state_at(task, (0.0, 0.0, 0.0), r - (PUSHER_RADIUS, 0.0)))
    x = task.step([0.03, 0.1])
    moved = pose_of(task, x)
    # twist ~ (1, mu, (r x f) / c^2) = (1, mu, -h mu / c^2): sideways mu per unit ahead, before it turned much
    assert moved[1] / moved[0] == pytest.approx(FRICTION, rel=0.1)
    assert moved[2] < 0.0


@every_shape
def test_no_body_is_penetrated_beyond_half_a_millimetre(pushing, name):
    task = pushing(name)
    rng = np.random.default_rng(3)
    for seed in range(3):
        x = task.reset(seed)
        for _ in range(15):
            towards = world_keypoints(x).mean(axis=0) - x[:2]
            x = task.step(3.0 * towards + 0.1 * rng.standard_normal(2))
            assert clearance(task.shape, x) > -5e-4  # at rounded corners; 0.1 mm elsewhere


def clearance(shape, x):
    """Distance between the pusher's rim and the object, m; negative inside."""
    pose = shape.pose(world_keypoints(x))
    if shape.radius:
        return np.linalg.norm(pose[:2] - x[:2]) - shape.radius - PUSHER_RADIUS
    local = placed(x[None, :2] - pose[:2], np.array([0.0, 0.0, -pose[2]]))[0]
    distances = []
    for cx, cy, a, b in shape.rectangles:
        d = np.abs(local - (cx, cy)) - (a, b)
        distances.append(np.linalg.norm(np.maximum(d, 0.0)) + min(d.max(), 0.0))
    return min(distances) - PUSHER_RADIUS


def test_keypoints_of_no_such_object_are_refused_and_small_errors_are_not(pushing):
    task = pushing("pushing-box")
    good = state_at(task, (0.1, 0.0, 0.5), np.array([-0.1, 0.0]))
    bad = good.copy()
    bad[2] += 0.03
    with pytest.raises(InvalidInput, match=r"corner_0 is .* mm off"):
        task.set_state(bad)
    noisy = good.copy()
    noisy[2:] += np.random.default_rng(0).normal(0.0, 1e-3, 8)
    assert np.abs(task.set_state(noisy) - good).max() < 3e-3
    with pytest.raises(InvalidInput, match="outside the workspace"):
        task.set_state(state_at(task, (0.1, 0.0, 0.5), np.array([-0.5, 0.0])))


def test_friction_lengths_are_those_of_the_textbook():
    assert disc(0.3).friction_length == pytest.approx(0.2)
    assert box(2.0).friction_length == pytest.approx((np.sqrt(2) + np.log(1 + np.sqrt(2))) / 3.0, rel=1e-5)
    rng = np.random.default_rng(0)  # the T by Monte Carlo
    shape = tee(0.12, 0.08, 0.03)
    points = rng.uniform(-0.12, 0.12, (400_000, 2))
    inside = np.any([np.all(np.abs(points - (x, y)) <= (a, b), axis=1) for x, y, a, b in shape.rectangles], axis=0)
    np.testing.assert_allclose(points[inside].mean(axis=0), 0.0, atol=5e-4)  # the origin is the centroid
    assert shape.friction_length == pytest.approx(np.linalg.norm(points[inside], axis=1).mean(), rel=5e-3)


@pytest.fixture
def sorting():
    task = SortingTask()
    yield task
    task.close()


def test_discs_push_each_other_and_do_not_overlap(sorting):
    """A row of three, pushed along itself: all move, the fourth, aside, does not."""
    d = 2.0 * RADIUS
    centres = np.array([(0.0, 0.0), (d, 0.0), (2 * d, 0.0), (0.0, 0.2)])
    pusher = np.array([-(RADIUS + PUSHER_RADIUS), 0.0])
    x = sorting.set_state(np.concatenate([pusher, (centres - pusher).ravel()]))
    for _ in range(3):
        x = sorting.step([0.2, 0.0])
        points = world_keypoints(x)
        assert min(np.linalg.norm(a - b) for a, b in combinations(points, 2)) > d - 5e-4
    np.testing.assert_allclose(points[:3, 0] - centres[:3, 0], 0.06, atol=2e-3)
    np.testing.assert_allclose(points[3], centres[3], atol=1e-15)


def test_discs_of_one_colour_may_change_places(sorting):
    """The state is a set: with equal discs exchanged, the same happens to the exchanged ones, and costs the same."""
    goal, x = sorting.goal(3), sorting.reset(3)
    pairs = [0, 2, 1, 4, 3]  # the pusher, then the discs
    swap = np.array([[2 * k, 2 * k + 1] for k in pairs]).ravel()
    assert sorting.spec.cost(x[swap], goal) == pytest.approx(sorting.spec.cost(x, goal))
    toward = world_keypoints(x)[0] - x[:2]
    u = SPEED * toward / np.abs(toward).max()
    a = sorting.step(u)
    sorting.set_state(x[swap])
    np.testing.assert_allclose(sorting.step(u)[swap], a, atol=1e-5)

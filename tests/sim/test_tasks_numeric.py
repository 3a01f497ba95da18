"""The piecewise-affine map is exactly its pieces; the cart-pole conserves energy and is pushed back by its walls."""

from __future__ import annotations

import numpy as np
import pytest

from sim.tasks.cartpole import CART, LENGTH, POLE, WALL, CartPoleTask, energy
from sim.tasks.piecewise import PiecewiseTask


def samples(task, count=4000, seed=0):
    rng = np.random.default_rng(seed)
    spec = task.spec
    return (
        rng.uniform(spec.state_lower, spec.state_upper, (count, len(spec.state))),
        rng.uniform(spec.input_lower, spec.input_upper, (count, len(spec.inputs))),
    )


def test_every_piece_is_the_affine_map_it_says_it_is():
    task = PiecewiseTask()
    x, u = samples(task)
    following, pieces = task.advance(x, u)[0], task.piece(x, u)
    kinds = np.unique(pieces, axis=0)
    assert len(kinds) > 10
    for kind in kinds:
        a, b, c = task.affine(kind)
        there = np.all(pieces == kind, axis=1)
        np.testing.assert_allclose(x[there] @ a.T + u[there] @ b.T + c, following[there], atol=1e-14)


def test_pieces_meet_without_a_step():
    """On the border of hinge j the two pieces that differ in j agree."""
    task = PiecewiseTask()
    x, u = samples(task, 300)
    from sim.tasks.piecewise import BIAS, S, W

    for j in range(len(BIAS)):
        off = x @ W[j] + u @ S[j] + BIAS[j]
        border = x - off[:, None] * W[j] / (W[j] @ W[j])
        for point, force, piece in zip(border, u, task.piece(border, u), strict=True):
            values = []
            for on in (False, True):
                piece[j] = on
                a, b, c = task.affine(piece)
                values.append(a @ point + b @ force + c)
            np.testing.assert_allclose(values[0], values[1], atol=1e-14)


def test_the_map_never_leaves_its_limits():
    """On a grid, with the steepest piece's reach between its points as margin."""
    task = PiecewiseTask()
    axes = [np.linspace(a, b, 81) for a, b in zip(task.spec.state_lower, task.spec.state_upper, strict=True)]
    axes.append(np.linspace(-1.0, 1.0, 21))
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    cell = np.array([axis[1] - axis[0] for axis in axes]) / 2.0
    reach = 0.0
    for bits in range(2**6):
        a, b, _ = task.affine((bits >> np.arange(6)) & 1)
        reach = max(reach, float(np.max(np.abs(np.hstack([a, b])) @ cell)))
    following = task.advance(grid[:, :2], grid[:, 2:])[0]
    assert np.all(following < task.spec.state_upper - reach)
    assert np.all(following > task.spec.state_lower + reach)


@pytest.mark.parametrize("task", [PiecewiseTask(), CartPoleTask()], ids=lambda task: task.spec.task)
def test_batches_are_what_single_states_give(task):
    x, u = samples(task, 6)
    batch = task.advance(x.reshape(2, 3, -1), u.reshape(2, 3, -1))[0].reshape(6, -1)
    singles = np.array([task.advance(a, b)[0] for a, b in zip(x, u, strict=True)])
    np.testing.assert_allclose(batch, singles, rtol=1e-12, atol=1e-12)


def test_energy_is_kept_without_a_force_walls_included():
    task = CartPoleTask()
    x = np.array([[0.0, 0.3, 0.0, 0.0], [0.1, -0.2, 0.5, 1.0], [0.0, 0.5, 0.2, 1.0]])
    before, met = energy(x), np.zeros(3, dtype=bool)
    for _ in range(20):
        x, touched = task.advance(x, np.zeros((3, 1)))
        met |= touched
    assert met.all()
    np.testing.assert_allclose(energy(x), before, rtol=2e-3)


def test_a_force_does_its_work():
    """dE = f dx: over one step, with the cart's way taken from steps of a tenth."""
    task = CartPoleTask()
    x = np.array([0.05, 0.1, 0.3, -0.2])
    after = task.advance(x, np.array([4.0]))[0]
    # Without walls in reach p'' is smooth: Hermite's rule for the way is exact enough, but p itself is at hand.
    assert energy(after) - energy(x) == pytest.approx(4.0 * (after[0] - x[0]), rel=1e-6)


def test_momentum_along_the_rail_changes_by_the_force_alone():
    task = CartPoleTask()
    x = np.array([0.0, 0.2, 0.1, 0.5])

    def momentum(z):
        return (CART + POLE) * z[2] + POLE * LENGTH * np.cos(z[1]) * z[3]

    after = task.advance(x, np.array([3.0]))[0]
    assert momentum(after) - momentum(x) == pytest.approx(3.0 * task.spec.dt, rel=1e-8)


def test_walls_push_the_pole_back():
    task = CartPoleTask()
    side = np.array([[1.0], [-1.0]])
    lean = np.arcsin((WALL - 1e-3) / LENGTH)
    x = side * np.array([0.0, lean, 0.0, 2.0])
    struck = task.advance(x, np.zeros((2, 1)))[0]
    assert np.all(np.sign(struck[:, 3]) == -np.sign(x[:, 3]))  # the pole swings back
    assert np.all(np.sign(struck[:, 2]) == -np.sign(x[:, 3]))  # and takes the cart along
    for _ in range(3):
        x, touched = task.advance(x, np.zeros((2, 1)))
    assert not touched.any()
    tip = x[:, 0] + LENGTH * np.sin(x[:, 1])
    np.testing.assert_allclose(x[0], -x[1], atol=1e-12)  # the same on both sides
    assert np.all(np.abs(tip) < WALL)


def test_upright_at_rest_is_an_equilibrium_and_leaning_is_not():
    task = CartPoleTask()
    np.testing.assert_array_equal(task.advance(np.zeros(4), np.zeros(1))[0], np.zeros(4))
    fallen = task.advance(np.array([0.0, 0.01, 0.0, 0.0]), np.zeros(1))[0]
    assert fallen[1] > 0.01 and fallen[3] > 0.0 and fallen[2] < 0.0  # the cart is pushed away under it


def test_exploration_holds_the_pole_up_or_lets_it_swing():
    task = CartPoleTask()
    e = 1e-6
    a = np.stack([task.advance(e * v, np.zeros(1))[0] for v in np.eye(4)], axis=1) / e
    b = task.advance(np.zeros(4), np.array([e]))[0][:, None] / e
    assert np.abs(np.linalg.eigvals(a + b @ task.feedback[:1])).max() < 0.96
    assert np.abs(np.linalg.eigvals(a + b @ task.feedback[1:])).max() > 1.0

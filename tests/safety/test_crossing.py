"""Vehicles that cross: the exact projection, the row that keeps the distance, and the gain network's file."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from benchmarks import lipschitz_crossing, lipschitz_vehicles
from control_stack.artefacts.tables import Findings
from control_stack.errors import InvalidInput
from control_stack.safety.barrier.pairs import HIGHEST, LOWEST
from control_stack.safety.barrier.projection import solve
from control_stack.safety.crossing.gains import SIZE, gains_of, load, save
from control_stack.safety.crossing.seen import Seen, look
from control_stack.safety.crossing.setting import Crossing, start_of
from control_stack.safety.crossing.training import Recipe, train
from control_stack.safety.crossing.world import Outcome, constant, fly, nearest

SHORT = Crossing(patience=4.0)


def test_the_nearest_corner_is_the_answer_of_the_solver():
    pytest.importorskip("daqp")
    rng = np.random.default_rng(0)
    turn = rng.uniform(0.0, 2.0 * np.pi, (200, 5))
    rows = np.stack([np.cos(turn), np.sin(turn)], axis=-1)
    limits, wanted = rng.uniform(-0.3, 1.0, (200, 5)), rng.normal(size=(200, 2)) * 2.0
    found = nearest(wanted, rows, limits, 1e3)
    for k in range(200):
        flat = np.concatenate([rows[k], np.zeros((5, 1))], axis=1)
        expected = solve(np.array([*wanted[k], 0.0]), flat, limits[k])
        if expected is None:
            assert np.isnan(found[k]).all()
        else:
            np.testing.assert_allclose(found[k], expected[:2], atol=1e-5)


def test_what_is_admissible_is_not_changed():
    wanted = np.array([0.3, -0.1])
    assert (nearest(wanted, np.array([[1.0, 0.0]]), np.array([0.5]), 5.0) == wanted).all()


def test_no_gains_however_wild_bring_vehicles_together():
    rng = np.random.default_rng(1)
    wild = fly(
        np.arange(4), lambda seen: np.exp(rng.uniform(np.log(LOWEST), np.log(HIGHEST), seen.place.shape[:-1])), SHORT
    )
    assert not wild.collided.any() and wild.least.min() > SHORT.distance
    assert wild.least.min() < 1.0  # and they did meet


def test_equal_seeds_are_equal_flights_whatever_else_is_in_the_batch():
    course = replace(SHORT, patience=1.0)
    one, three = fly(np.array([5]), constant(1.0), course), fly(np.array([3, 4, 5]), constant(1.0), course)
    np.testing.assert_allclose(one.paths[:, 0], three.paths[:, 2], atol=1e-12)


def test_weights_come_back_with_their_card_and_strangers_are_refused(tmp_path):
    path, rng = tmp_path / "gains.safetensors", np.random.default_rng(2)
    weights = rng.standard_normal(SIZE).astype(np.float32)
    save(path, weights, {"seed": 0}, Crossing())
    np.testing.assert_array_equal(load(path), weights)
    card = json.loads(path.with_suffix(".json").read_text())
    path.with_suffix(".json").write_text(json.dumps({**card, "features": ["side"]}))
    with pytest.raises(InvalidInput, match="no gain network of this version"):
        load(path)
    with pytest.raises(InvalidInput, match="not exist|no file|missing|cannot"):
        load(tmp_path / "other.safetensors")


def test_a_batch_of_networks_answers_as_each_of_them():
    rng = np.random.default_rng(3)
    nets = rng.standard_normal((3, SIZE))
    seen = Seen(rng.normal(size=(3, 8, 7, 2)), rng.normal(size=(3, 8, 7, 2)), rng.normal(size=(3, 8, 3)))
    together = gains_of(nets)(seen)
    for k in range(3):
        alone = gains_of(nets[k])(Seen(*(part[k] for part in seen)))
        np.testing.assert_allclose(together[k], alone, atol=1e-12)
    assert (together >= LOWEST).all() and (together <= HIGHEST).all()


def test_training_is_reproducible_and_never_loses_its_best_start():
    recipe = Recipe(first=3, worlds=1, rounds=1, children=2, later_worlds=1, parents=1, patience=0.5)
    first, second = [], []
    a = train(4, recipe, told=lambda k, score: first.append(score))
    b = train(4, recipe, told=lambda k, score: second.append(score))
    np.testing.assert_array_equal(a, b)
    assert first == second and len(first) == 2


def test_what_is_seen_does_not_depend_on_where_north_is():
    rng = np.random.default_rng(5)
    position, velocity, goal = rng.normal(size=(3, 4, 2))
    place, motion = rng.normal(size=(2, 4, 3, 2))
    turn = np.array([[np.cos(1.1), -np.sin(1.1)], [np.sin(1.1), np.cos(1.1)]])
    here = look(position, velocity, goal, place, motion)
    there = look(*(part @ turn.T for part in (position, velocity, goal, place, motion)))
    for one, other in zip(here, there, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-12)
    to_goal = look(np.zeros((1, 2)), np.ones((1, 2)), np.array([[0.0, 2.0]]), np.array([[[0.0, 1.0]]]), motion[:1, :1])
    np.testing.assert_allclose(to_goal.place[0, 0], [1.0, 0.0], atol=1e-12)  # straight ahead
    np.testing.assert_allclose(to_goal.own[0], [2.0, 1.0, -1.0], atol=1e-12)


def test_who_is_out_of_sight_changes_nothing():
    """Two that cross and a third too far away to be seen fly as if it were not there."""
    course = replace(SHORT, vehicles=3, patience=0.5, sight=0.5)
    gains = []
    fly(np.array([3]), lambda seen: gains.append(seen) or np.full(seen.place.shape[:-1], LOWEST), course)
    alone = fly(np.array([3]), constant(HIGHEST), course)
    blind = fly(np.array([3]), constant(LOWEST), course)
    assert np.linalg.norm(gains[0].place, axis=-1).min() > 0.5
    np.testing.assert_array_equal(alone.paths, blind.paths)  # at no gain has anybody a row yet
    seeing = fly(np.array([3]), constant(LOWEST), replace(course, sight=9.0))
    assert np.abs(seeing.paths - blind.paths).max() > 0.02


def _outcome(arrived) -> Outcome:
    nothing = np.zeros(len(arrived))
    return Outcome(arrived, nothing > 0.0, nothing + 1.0, np.where(arrived, 5.0, np.inf), nothing, np.zeros((1, 0)))


@pytest.mark.parametrize("peak, refused", [(5.0, []), (300.0, ["an end", "1024 1/s"]), (0.1, ["an end"])])
def test_the_bench_refuses_a_grid_that_is_cut_off(monkeypatch, peak, refused):
    """Crossings that succeed by chance, most often at a gain inside the grid, far above it, or below it."""

    def flown(seeds, policy, crossing, hardest=HIGHEST):
        gain = float(policy(Seen(np.zeros((1, 8, 7, 2)), np.zeros((1, 8, 7, 2)), np.zeros((1, 8, 3)))).max())
        chance = 0.75 / (1.0 + np.log(gain / peak) ** 2)
        return _outcome(np.random.default_rng(0).uniform(size=len(seeds)) < chance)

    monkeypatch.setattr(lipschitz_crossing, "flown", flown)
    monkeypatch.setattr(lipschitz_vehicles, "measure", lambda seed, quick: Findings([], {}))
    rows = {row.metric: row for row in lipschitz_crossing.measure(0, quick=False).rows}
    grid = {what: row for what, row in rows.items() if "grid" in what}
    assert len(grid) == 2
    for what, row in grid.items():
        assert row.holds is not any(what.startswith(start) for start in refused), what


def test_starts_are_of_the_frozen_setting():
    start = start_of(1, Crossing())
    assert ((start.speed >= 1.0) & (start.speed <= 1.2)).all() and np.ptp(start.speed) > 0.02
    assert np.linalg.norm(start.push, axis=1).max() <= 0.3
    np.testing.assert_allclose(np.linalg.norm(start.goal, axis=1), 1.6)


@pytest.mark.slow
def test_the_shipped_gains_arrive_where_the_fixed_ones_jam():
    """Whatever the fixed gain is: from one that creeps to the largest that may be asked for, where nothing creeps."""
    seeds = np.arange(7_000, 7_024)
    adapted = fly(seeds, gains_of(load()))
    assert adapted.arrived.mean() > 0.95 and not adapted.collided.any()
    for gain in (1.0, 4.0, 8.0, 16.0, HIGHEST):
        fixed = fly(seeds, constant(gain))
        assert adapted.arrived.mean() > fixed.arrived.mean() and not fixed.collided.any()

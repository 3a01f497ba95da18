"""gp_cem: its search, what it learns in flight, and what it never does."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.lipschitz_filter import hull_clearance
from benchmarks.lipschitz_gp import blocked, fly
from control_stack.errors import InputRejected, InvalidInput
from control_stack.quadrotor.parameters import GRAVITY, load_vehicle
from control_stack.safety.barrier.filter import Answer, SafetyFilter
from control_stack.trajectories import Hover, connect
from control_stack.types import CommandLevel, QuadrotorState, RatesThrustCommand, Reference
from controllers.gp_cem.quadrotor import SETTINGS, GpCemController
from controllers.gp_cem.residual import FlightResidual
from controllers.gp_cem.search import Search
from controllers.loader import load_controller
from sim.wind import WindConfig

pytest.importorskip("daqp")
VEHICLE = load_vehicle("crazyflie")
HALF = np.array([2.0, 2.0, 2.0])
HERE = np.array([0.0, 0.0, 1.0])


def at(position=HERE, velocity=(0.0, 0.0, 0.0), stamp: float = 0.0) -> QuadrotorState:
    return QuadrotorState(np.array(position, float), np.array(velocity, float), np.array([0.0, 0.0, 0.0, 1.0]),
                          np.zeros(3), stamp=stamp)  # fmt: skip


def bowl(plans):
    """Least at (1, -0.5, 0) in every step."""
    return np.square(plans - (1.0, -0.5, 0.0)).sum((1, 2))


def test_a_plan_is_never_worse_than_its_start_and_calls_lead_to_the_optimum():
    search = Search(SETTINGS, 8, HALF, seed=1)
    costs = []
    for _ in range(60):
        found = search(bowl, 0.0)
        assert found.cost <= found.start_cost
        costs.append(found.cost)
    assert costs[-1] < 0.02 * bowl(np.zeros((1, 8, 3)))[0] and costs[-1] <= costs[0]
    assert (np.diff(costs) <= 1e-12).all()  # the last plan is among those that are tried


def test_a_plan_moves_on_with_time():
    search = Search(SETTINGS, 6, HALF, seed=2)
    ramp = np.arange(6.0)[:, None] * np.full(3, 0.2)
    search._best = ramp
    np.testing.assert_allclose(search._on(ramp[None], 1.5)[0, :4], ramp[:4] + 0.3, atol=1e-12)
    np.testing.assert_allclose(search._on(ramp[None], 50.0)[0], np.tile(ramp[-1], (6, 1)))


def test_what_cannot_be_flown_is_never_chosen_and_without_any_plan_there_is_no_offset():
    def half_plane(plans):
        return np.where(plans[:, 0, 0] > 0.0, bowl(plans), np.inf)

    found = Search(SETTINGS, 8, HALF, seed=3)(half_plane, 0.0)
    assert np.isfinite(found.cost) and found.offsets[0, 0] > 0.0
    nowhere = Search(SETTINGS, 8, HALF, seed=3)(lambda plans: np.full(len(plans), np.inf), 0.0)
    assert not np.isfinite(nowhere.cost) and not nowhere.offsets.any()


def test_a_deadline_that_has_passed_leaves_one_round():
    search = Search(replace(SETTINGS, iterations=5), 8, HALF, seed=4)
    assert search(bowl, 0.0).rounds == 5 and search(bowl, 0.0, deadline=0.0).rounds == 1


def test_a_constant_push_is_learnt_from_motion():
    """A vehicle that is upright with the thrust of its weight and yet accelerates: that is what is missing."""
    residual, push, v = FlightResidual(VEHICLE), np.array([0.8, -0.3, 0.1]), np.zeros(3)
    drag = np.asarray(VEHICLE.drag) / float(VEHICLE.mass)
    for k in range(300):
        residual.observe(0.01 * k, at(velocity=v, stamp=0.01 * k))
        v = v + 0.01 * (push - drag * v)
    thrust = np.array([GRAVITY])
    np.testing.assert_allclose(residual.mean(3.0, v[None], thrust)[0], push, atol=0.08)
    sure = residual.bound(np.array([3.0]), v[None], thrust)[0]
    assert np.linalg.norm(push) < sure < residual.bound(np.array([60.0]), v[None] + 50.0, thrust)[0]
    residual.reset()
    assert residual.process.count == 0


def test_after_a_gap_in_time_or_a_jump_nothing_wrong_is_learnt():
    residual = FlightResidual(VEHICLE)
    for k in range(40):
        jump = 5.0 if k >= 20 else 0.0  # m/s within a period: an estimator that begins anew
        residual.observe(0.01 * k + (1.0 if k >= 30 else 0.0), at(velocity=(jump, 0.0, 0.0)))
    drag = float(VEHICLE.drag[0] / VEHICLE.mass) * 5.0
    y = residual.process._y[: residual.process.count]
    assert residual.process.count and np.abs(y).max() < 1.01 * drag


@pytest.mark.parametrize("level", [CommandLevel.CTBR, CommandLevel.ATTITUDE])
def test_a_steady_wind_is_flown_out_that_the_law_alone_leaves(level):
    """Hover in 2 m/s of wind that nobody tells."""
    wind, hover = WindConfig((2.0, -1.0, 0.0)), Hover(HERE)
    off = {}
    for learn in (False, True):
        flown = fly(lambda p, scene, on=learn: GpCemController(p, level, learn=on), hover, wind, 0, 4.0)
        off[learn] = np.linalg.norm(flown.path[-100:] - HERE, axis=1).mean()
    assert off[False] > 0.03 and off[True] < 0.2 * off[False]


def test_equal_seeds_fly_equal_flights_and_other_seeds_others():
    scene, wind = blocked(1)
    way = connect(Reference(np.array([-1.5, -0.9, 1.2])), Reference(np.array([1.5, 0.9, 1.2])), 1.8, 2.0)
    paths = [
        fly(lambda p, s, seed=seed: GpCemController(p, scene=s, seed=seed), way, wind, 0, 1.5, scene).path
        for seed in (5, 5, 6)
    ]
    np.testing.assert_array_equal(paths[0], paths[1])
    assert np.abs(paths[0] - paths[2]).max() > 0.0


@pytest.mark.parametrize("seed", [0, 3])
def test_through_a_blocked_scene_nothing_is_hit(seed):
    scene, wind = blocked(seed)
    way = connect(Reference(np.array([-2.4, -1.4, 1.2])), Reference(np.array([2.4, 1.4, 1.2])), 1.8, 2.0)
    flown = fly(lambda p, s: GpCemController(p, scene=s), way, wind, seed, 5.0, scene)
    radius = SafetyFilter(scene, VEHICLE).radius
    assert hull_clearance(scene, flown.path, radius).min() > 0.0
    assert flown.answers[Answer.FALLBACK] == 0


def test_the_margin_is_widened_by_what_was_learnt():
    scene, _ = blocked(0)
    controller = GpCemController(VEHICLE, scene=replace(scene, margin=replace(scene.margin, wind=0.0, model=0.1)))
    assert controller.guard is not None and controller.guard.unknown == pytest.approx(0.1)
    still = at((-2.4, -1.4, 1.2))
    controller(0.0, still, Reference(np.array([-2.0, -1.4, 1.2])))
    # Nothing learnt yet: beta times the deviation of the prior.
    prior = controller.residual.beta * controller.residual.process.kernel.prior
    assert controller.guard.unknown == pytest.approx(min(prior, controller.guard._bearable))


@pytest.mark.parametrize("where", ["state", "reference"])
def test_not_a_number_is_refused(where):
    controller = GpCemController(VEHICLE)
    state, reference = at(), Reference(HERE)
    if where == "state":
        state = at((np.nan, 0.0, 1.0))
    else:
        reference = Reference(np.array([np.inf, 0.0, 1.0]))
    with pytest.raises(InputRejected):
        controller(0.0, state, reference)
    assert isinstance(controller(0.01, at(), Reference(HERE)), RatesThrustCommand)


def test_nothing_is_learnt_while_others_fly():
    controller = GpCemController(VEHICLE)
    for k in range(50):
        state = at(velocity=(0.1 * k, 0.0, 0.0), stamp=0.01 * k)
        controller(0.01 * k, state, Reference(state.position_w))
    assert controller.residual.process.count == 0


def test_its_name_takes_a_scene_and_nothing_else(tmp_path):
    file = tmp_path / "scene.yaml"
    file.write_text("name: yard\nfence: {x: [-1, 1]}\n")
    made = load_controller(f"gp_cem:filter={file}")(VEHICLE, CommandLevel.CTBR, 100.0)
    assert made.guard.scene.name == "yard"
    for options in ("filter=", "scene=x", f"filter={tmp_path / 'none.yaml'}"):
        with pytest.raises(InvalidInput):
            load_controller(f"gp_cem:{options}")
    for wrong in ({"steps": 0}, {"step": 0.0}, {"deadline": 0.0}):
        with pytest.raises(InvalidInput):
            GpCemController(VEHICLE, **wrong)

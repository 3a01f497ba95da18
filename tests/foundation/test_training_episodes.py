"""How episodes begin, what they follow, and who flies on: references, the lost, and the standing crowd."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from control_stack.foundation.airframes import LAWS, calm, sample
from control_stack.foundation.observation import Lead
from control_stack.foundation.training.draws import Anyone, Own, training_airframes
from control_stack.foundation.training.episodes import eights, hover, lost, starts, training_references
from control_stack.foundation.training.rollout import Nursery

N = 64


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def f64(waves):
    return type(waves)(waves.amplitude.double(), waves.frequency.double(), waves.phase.double(), waves.ramp.double())


@pytest.mark.parametrize("seconds", [0.2, 0.49, 2.0, 7.0])
def test_velocity_is_the_derivative_of_position(seconds):
    waves, h = f64(training_references(N, generator())), 1e-5
    # Beside the end of a ramp, where the acceleration jumps.
    t = torch.full((N,), seconds, dtype=torch.float64)
    slope = (waves.at(t + h)[0:3] - waves.at(t - h)[0:3]) / (2 * h)
    torch.testing.assert_close(waves.at(t)[3:6], slope, rtol=0, atol=1e-5)


def test_references_begin_at_rest_at_the_origin():
    assert training_references(N, generator()).at(torch.zeros(N)).abs().max() < 1e-6


@pytest.mark.parametrize("when", [1.1, 5.0])
def test_the_lead_adds_derivatives_of_the_reference(when):
    waves, lead, h = f64(training_references(N, generator())), Lead(-0.02, 0.03, 0.04, 0.1), 1e-4
    t = torch.full((N,), when, dtype=torch.float64)
    now, before, after = waves.at(t), waves.at(t - h), waves.at(t + h)
    a = (after[3:6] - before[3:6]) / (2 * h)
    j = (after[3:6] - 2.0 * now[3:6] + before[3:6]) / h**2
    ahead = waves.ahead(t, lead)
    torch.testing.assert_close(ahead[0:3], now[0:3] - 0.02 * now[3:6] + 0.03 * a + 0.04 * j, rtol=0, atol=1e-5)
    torch.testing.assert_close(ahead[3:6], now[3:6] + 0.1 * a, rtol=0, atol=1e-5)
    assert torch.equal(waves.ahead(t, Lead()), now)


def test_an_eight_passes_its_known_points():
    lap, ramp = 5.5, 3.0
    waves = eights(1, lap, ramp=ramp)
    # phi = 2 pi / lap * (t - ramp / 2) after the ramp: a quarter lap on, x is at its end and y crosses zero.
    for quarter, (x, y) in enumerate(((0.0, 0.0), (1.0, 0.0), (0.0, 0.0), (-1.0, 0.0), (0.0, 0.0))):
        p = waves.at(torch.tensor([1.5 + lap + quarter * lap / 4]))[:, 0]
        np.testing.assert_allclose(p[0:3], (x, y, 0.0), atol=1e-5)
    eighth = waves.at(torch.tensor([1.5 + lap + lap / 8]))[:, 0]
    np.testing.assert_allclose(eighth[0:2], (math.sin(math.pi / 4), 0.5), atol=1e-5)
    speed = waves.at(torch.tensor([1.5 + lap]))[3:6, 0]
    np.testing.assert_allclose(speed, (2 * math.pi / lap, 2 * math.pi / lap, 0.0), atol=1e-4)


def test_hover_stays():
    assert not hover(3).at(torch.full((3,), 9.0)).any()


def test_training_references_are_gentle_enough_to_follow():
    waves, h = training_references(2000, generator()), 0.01
    for t in np.arange(0.0, 8.0, 0.5):
        at = torch.full((2000,), float(t))
        a = (waves.at(at + h)[3:6] - waves.at(at)[3:6]) / h
        assert a.norm(dim=0).max() < 7.0


def test_starts_are_those_of_raptors_task():
    x = starts(20_000, generator(), torch.full((20_000,), 0.6))
    still = (x[0:6].abs().sum(0) == 0.0) & (x[9] == 1.0)
    assert float(still.float().mean()) == pytest.approx(0.1, abs=0.01)
    assert x[0:3].abs().max() <= 0.5 and x[3:6].abs().max() <= 1.0 and x[10:13].abs().max() <= 1.0
    tilt = 2.0 * torch.acos(x[9].clamp(max=1.0))
    assert 0.99 < float(tilt.max()) <= 1.001 and (x[6:10].norm(dim=0) - 1.0).abs().max() < 1e-5
    assert torch.equal(x[13:17], torch.full((4, 20_000), 0.6))


def test_lost_is_far_fast_spinning_or_no_number():
    x = torch.zeros(17, 6)
    x[9] = 1.0
    x[0, 1], x[4, 2], x[12, 3], x[7, 4] = 5.1, -15.1, 61.0, float("nan")
    assert lost(x, torch.zeros(6, 6)).tolist() == [False, True, True, True, True, False]
    reference = torch.zeros(6, 6)
    reference[0, 5] = -6.0
    assert lost(x, reference)[5]


def nursery(draw=None, mean_windows=1e9, count=N, repeated=0.0):
    return Nursery(draw or Anyone(sensors=True), count, 3, 7, mean_windows, repeated=repeated)


def test_the_lost_are_replaced_and_the_others_fly_on():
    some = nursery()
    crowd = some.fresh()
    crowd.clock += 50.0
    crowd.hidden += 1.0
    crowd.previous += 0.5
    crowd.x[0, ::4] = 100.0
    crowd.x[3, 1] = float("nan")
    gone = torch.zeros(N, dtype=torch.bool)
    gone[::4] = gone[1] = True
    before = crowd
    crowd = some.renew(crowd, torch.full((3, N), -2.0))
    assert some.take_losses() == int(gone.sum()) and some.take_losses() == 0
    assert not crowd.clock[gone].any() and not crowd.previous[:, gone].any()
    assert (crowd.hidden[:, gone] == -2.0).all() and (crowd.hidden[:, ~gone] == 1.0).all()
    assert torch.isfinite(crowd.x).all() and not lost(crowd.x, crowd.reference.at(crowd.times())).any()
    assert torch.equal(crowd.x[:, ~gone], before.x[:, ~gone])
    assert torch.equal(crowd.fleet.columns[:, ~gone], before.fleet.columns[:, ~gone])
    assert not torch.equal(crowd.fleet.columns[:, gone], before.fleet.columns[:, gone])


def test_losses_are_flown_again_from_their_start_until_they_are_forgotten():
    some = nursery(mean_windows=1.0, repeated=1.0)
    crowd = some.fresh()
    lost_ones = torch.arange(N) % 5 == 0
    start, columns, amplitude = crowd.start, crowd.fleet.columns, crowd.reference.amplitude
    crowd.x = crowd.x + 0.01
    crowd.x[0, lost_ones] = 100.0
    zero, again = torch.zeros(3, N), []
    for _ in range(40):
        crowd = some.renew(crowd, zero)
        again.append((crowd.start == start).all(0))
        same = again[-1]
        assert torch.equal(crowd.x[:, same], start[:, same])
        assert torch.equal(crowd.fleet.columns[:, same], columns[:, same])
        assert torch.equal(crowd.reference.amplitude[..., same], amplitude[..., same])
    assert torch.equal(again[0], lost_ones)
    # A fifth of the repetitions are the last.
    assert 0.5 * int(lost_ones.sum()) < int(again[2].sum()) < int(lost_ones.sum()) and not again[-1].any()


def test_episodes_last_as_many_windows_as_asked_on_average():
    some = nursery(mean_windows=4.0, count=4000)
    crowd = some.fresh()
    crowd.clock += 1.0
    renewed = float((some.renew(crowd, torch.zeros(3, 4000)).clock == 0.0).float().mean())
    assert renewed == pytest.approx(0.25, abs=0.03)


def test_new_hidden_states_keep_their_graph_and_old_ones_lose_it():
    some = nursery()
    crowd = some.fresh()
    crowd.x[0, 0] = 100.0
    initial = torch.zeros(3, requires_grad=True)
    crowd.hidden = 2.0 * initial[:, None].expand(-1, N)
    (gradient,) = torch.autograd.grad(some.renew(crowd, initial[:, None].expand(-1, N)).hidden.sum(), initial)
    assert gradient.tolist() == [1.0, 1.0, 1.0]


def test_with_own_airframes_each_vehicle_keeps_its_teachers():
    own = sample(LAWS["raptor"], 8, np.random.default_rng(0))
    some = nursery(Own(own, sensors=True), mean_windows=1.0)
    crowd = some.renew(some.fresh(), torch.zeros(3, N))
    expected = torch.as_tensor(np.repeat(own.columns, N // 8, axis=1), dtype=torch.float32)
    assert torch.equal(crowd.fleet.columns, expected)


def test_a_crowd_is_restored_with_its_future():
    some, other = nursery(mean_windows=2.0), nursery(mean_windows=2.0)
    crowd = some.renew(some.fresh(), torch.zeros(3, N))
    state = some.state(crowd)
    again = other.restore({name: value.clone() for name, value in state.items()})
    for _ in range(3):
        crowd, again = (n.renew(c, torch.zeros(3, N)) for n, c in ((some, crowd), (other, again)))
        one, two = some.state(crowd), other.state(again)
        assert one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)
        assert torch.equal(some.noise(2), other.noise(2))


def test_training_looks_at_slow_airframes_more_often_than_the_law():
    drawn = training_airframes(4000, np.random.default_rng(0)).torque_to_inertia
    plain = sample(LAWS["raptor"], 4000, np.random.default_rng(0)).torque_to_inertia
    assert (drawn < 200.0).mean() > 2.0 * (plain < 200.0).mean()


def test_without_sensors_nothing_is_late_or_noisy():
    airframes, conditions = Anyone(sensors=False)(500, np.random.default_rng(0))
    assert not conditions.velocity_delay.any() and not conditions.noise.any() and conditions.force_w.any()
    _, student = Anyone(sensors=True)(500, np.random.default_rng(0))
    assert 0.0 < student.velocity_delay.max() <= 0.08 and student.noise.any()
    assert not calm(airframes).force_w.any()

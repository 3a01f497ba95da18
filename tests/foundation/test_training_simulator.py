"""The batched simulator: physics, gradients, sensors."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from control_stack.algebra import body_axes
from control_stack.errors import InvalidInput, UnknownName
from control_stack.foundation.airframes import LAWS, Conditions, calm, sample, sample_conditions
from control_stack.foundation.observation import assemble, features
from control_stack.foundation.training.episodes import starts
from control_stack.foundation.training.simulator import (
    DT,
    LONGEST_DELAY,
    Fleet,
    fresh_history,
    observe,
    remember,
    rotor_command,
    sensed,
    with_noise,
    world_step,
)
from control_stack.quadrotor.dynamics import derivative, rk4_step, semi_implicit_step
from control_stack.quadrotor.parameters import GRAVITY, airframe_from_columns

N = 32
F64 = torch.float64


def fleet(law="wide", count=N, seed=0):
    rng = np.random.default_rng(seed)
    airframes = sample(LAWS[law], count, rng)
    return Fleet.of(airframes, sample_conditions(LAWS[law], airframes, rng), dtype=F64)


def states(count=N, seed=0):
    x = starts(count, torch.Generator().manual_seed(seed)).to(F64)
    x[6:10] /= x[6:10].norm(dim=0)  # a unit quaternion in float32 is not one in float64
    return x


def commands(count=N, seed=1):
    return torch.rand(4, count, generator=torch.Generator().manual_seed(seed), dtype=F64)


@pytest.fixture(scope="module")
def error_after():
    """error_after(step, n): largest difference from a fine solution after 0.2 s near hover, in n steps."""
    rng = np.random.default_rng(0)
    airframes = sample(LAWS["raptor"], N, rng)
    some = Fleet.of(airframes, sample_conditions(LAWS["raptor"], airframes, rng), dtype=F64)
    airframe = airframe_from_columns(some.columns.unbind(0))
    hover = torch.as_tensor(airframes.hover_speed)
    u, pushed = (hover + 0.01 * (commands() - 0.5)).unbind(0), some.disturbance.unbind(0)
    x = states()
    x[13:17] = hover

    def fly(step, n):
        y = x.unbind(0)
        for _ in range(n):
            y = step(y, u, airframe, 0.2 / n, pushed)
        return torch.stack(y)

    truth = fly(rk4_step, 200)
    return lambda step, n: float((fly(step, n) - truth).abs().max())


def test_rk4_is_of_fourth_order_and_exact_enough(error_after):
    assert np.log2(error_after(rk4_step, 5) / error_after(rk4_step, 10)) > 3.5
    assert error_after(rk4_step, 20) < 1e-6


def test_the_semi_implicit_step_converges_and_is_near_at_10_ms(error_after):
    coarse, fine = error_after(semi_implicit_step, 20), error_after(semi_implicit_step, 40)
    # Between first order (the gyroscopic and drag terms) and second (all else).
    assert coarse / fine > 1.9
    assert coarse < 0.05


def test_both_steps_agree_on_where_vehicles_go():
    some, u = fleet("raptor"), commands()
    a = b = states()
    for _ in range(20):
        a = world_step(a, u, some.columns, some.disturbance)
        b = world_step(b, u, some.columns, some.disturbance, method="semi_implicit")
    slow = a[10:13].abs().amax(0) < 20.0
    assert slow.any()
    assert (a - b)[0:3, slow].abs().max() < 0.005 and (a - b)[13:17].abs().max() < 0.01


@pytest.mark.parametrize("method", ["rk4", "semi_implicit"])
def test_without_thrust_all_fall_alike(method):
    some = fleet("raptor")
    columns = some.columns.clone()
    columns[16:28] = 0.0
    x = states()
    start, steps = x.clone(), 50
    for _ in range(steps):
        x = world_step(x, torch.zeros(4, N, dtype=F64), columns, torch.zeros(9, N, dtype=F64), method=method)
    t = steps * DT
    fallen = start[0:3] + start[3:6] * t
    fallen[2] -= 0.5 * GRAVITY * t * t
    torch.testing.assert_close(x[0:3], fallen, rtol=0, atol=1e-12)
    assert (x[6:10].norm(dim=0) - 1.0).abs().max() < 1e-12


def test_without_torque_angular_momentum_stays():
    some = fleet("raptor")
    columns = some.columns.clone()
    columns[16:28] = 0.0

    def momentum(x):
        bx, by, bz = body_axes(tuple(x[6:10].unbind(0)))
        h = columns[1:4] * x[10:13]
        return torch.stack([bx[i] * h[0] + by[i] * h[1] + bz[i] * h[2] for i in range(3)])

    x = states()
    before = momentum(x)
    for _ in range(100):
        x = world_step(x, torch.zeros(4, N, dtype=F64), columns, torch.zeros(9, N, dtype=F64))
    assert ((momentum(x) - before).norm(dim=0) / before.norm(dim=0).clamp_min(1e-12)).max() < 1e-6


def test_hover_speed_hovers():
    rng = np.random.default_rng(3)
    airframes = sample(LAWS["raptor"], N, rng)
    some = Fleet.of(airframes, calm(airframes), dtype=F64)
    u = torch.as_tensor(airframes.hover_speed).expand(4, -1)
    x = torch.zeros(17, N, dtype=F64)
    x[9], x[13:17] = 1.0, u
    for _ in range(100):
        x = world_step(x, u, some.columns, some.disturbance)
    assert x[0:3].abs().max() < 1e-9 and x[10:13].abs().max() < 1e-9


def test_a_step_of_columns_is_the_cores_rk4_vehicle_by_vehicle():
    some, u, x = fleet(), commands(), states()
    new = world_step(x, u, some.columns, some.disturbance)
    for k in range(0, N, 7):
        one = [c.tolist() for c in (x[:, k], u[:, k], some.disturbance[:, k])]
        airframe = airframe_from_columns(some.columns[:, k].tolist())
        alone = rk4_step(tuple(one[0]), tuple(one[1]), airframe, DT, tuple(one[2]))
        np.testing.assert_allclose(new[:, k].numpy(), alone, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("method", ["rk4", "semi_implicit"])
def test_gradients_are_those_of_finite_differences(method):
    some = fleet(count=2, seed=4)
    x, u = states(2, 5), commands(2, 6)
    x[13:17] = x[13:17].clamp(0.2, 0.8)  # away from the kinks of the thrust and of the lag
    u = torch.where((u - x[13:17]).abs() < 0.05, x[13:17] + 0.1, u)

    def step(x, u, columns, disturbance):
        return world_step(x, u, columns, disturbance, torch.full((1, 2), 0.95, dtype=F64), method)

    inputs = [t.clone().requires_grad_() for t in (x, u, some.columns, some.disturbance)]
    # A light airframe's inertia is 1e-5: perturb relatively.
    scales = [t.detach().abs().clamp_min(1e-3 if k != 2 else 1e-30) for k, t in enumerate(inputs)]
    units = [torch.ones_like(t).requires_grad_() for t in inputs]
    offsets = [t.detach() for t in inputs]

    def scaled(*factors):
        return step(*(o + s * (f - 1.0) for o, s, f in zip(offsets, scales, factors, strict=True)))

    assert torch.autograd.gradcheck(scaled, units, eps=1e-6, atol=1e-4, rtol=1e-3)


def test_a_sagging_battery_takes_its_share_of_the_thrust():
    rng = np.random.default_rng(0)
    airframes = sample(LAWS["raptor"], N, rng)
    some = Fleet.of(airframes, calm(airframes), dtype=F64)
    x = torch.zeros(17, N, dtype=F64)
    x[9], x[13:17] = 1.0, 0.7
    hard, soft = (
        world_step(x, x[13:17], some.columns, some.disturbance, left)[5] / DT + GRAVITY
        for left in (1.0, torch.full((1, N), 0.9, dtype=F64))
    )
    torch.testing.assert_close(soft, 0.9 * hard)


def test_delays_show_exactly_the_sample_of_so_many_steps_ago():
    steps = np.arange(N) % (LONGEST_DELAY + 1)
    airframes = sample(LAWS["raptor"], N, np.random.default_rng(0))
    zero = calm(airframes)
    conditions = Conditions(zero.force_w, zero.torque_b, steps * DT, steps[::-1] * DT, zero.noise, zero.sag)
    some = Fleet.of(airframes, conditions, dtype=F64)
    generator = torch.Generator().manual_seed(0)
    past = [torch.randn(17, N, generator=generator, dtype=F64) for _ in range(12)]
    history = fresh_history(past[0])
    for k, x in enumerate(past):
        history = remember(history, x)
        seen = sensed(x, history, some.velocity_lag, some.attitude_lag)
        for n in range(N):
            assert torch.equal(seen[0:3, n], x[0:3, n])
            assert torch.equal(seen[3:6, n], past[max(k - steps[n], 0)][3:6, n])
            assert torch.equal(seen[6:13, n], past[max(k - steps[::-1][n], 0)][6:13, n])


def test_delays_beyond_the_longest_are_refused():
    airframes = sample(LAWS["raptor"], 1, np.random.default_rng(0))
    zero = calm(airframes)
    late = np.array([(LONGEST_DELAY + 1) * DT])
    with pytest.raises(InvalidInput, match="delays"):
        Fleet.of(airframes, Conditions(zero.force_w, zero.torque_b, late, zero.attitude_delay, zero.noise, zero.sag))
    with pytest.raises(UnknownName, match="rk4"):
        world_step(states(1), commands(1), fleet(count=1).columns, torch.zeros(9, 1, dtype=F64), method="euler")


def test_noise_has_the_size_that_it_claims_and_no_mean():
    count = 40_000
    x = states(1).expand(-1, count)[0:13]
    unit = torch.randn(12, count, generator=torch.Generator().manual_seed(0), dtype=F64)
    noisy = with_noise(x, unit, torch.full((1, count), 0.5, dtype=F64))
    off = noisy - x
    for rows, size in ((slice(0, 3), 0.001), (slice(3, 6), 0.010), (slice(10, 13), 0.0175)):
        assert off[rows].std(1).sub(0.5 * size).abs().max() < 0.02 * size
        assert off[rows].mean(1).abs().max() < 0.02 * size
    # The angle between two attitudes: 2 acos |q . p|; each axis of the small turn has the same spread.
    angle = 2.0 * torch.acos((noisy[6:10] * x[6:10]).sum(0).abs().clamp(max=1.0))
    assert (angle.square().mean() / 3.0).sqrt().item() == pytest.approx(0.5 * 0.0035, rel=0.03)
    assert (noisy[6:10].norm(dim=0) - 1.0).abs().max() < 1e-12


def test_no_noise_changes_nothing():
    x = states()[0:13]
    unit = torch.randn(12, N, dtype=F64)
    torch.testing.assert_close(with_noise(x, unit, torch.zeros(1, N, dtype=F64)), x)


def test_training_observes_what_the_node_observes():
    x = states()
    reference = torch.randn(6, N, dtype=F64)
    previous = torch.randn(4, N, dtype=F64)
    seen = observe(x[0:13], reference, previous)
    zero = (0.0, 0.0, 0.0)
    flown = features(
        tuple(x[0:13].numpy()), tuple(reference[0:3].numpy()), tuple(reference[3:6].numpy()), zero, zero, 0.0
    )
    np.testing.assert_allclose(seen[0:18].numpy(), np.stack(flown), atol=1e-14)
    batch = seen.T
    again = assemble(batch[:, 0:3], batch[:, 3:12], batch[:, 12:15], batch[:, 15:18], previous.T)
    assert torch.equal(again, batch)


def test_commands_are_clamped_halves():
    raw = torch.tensor([[-3.0], [-1.0], [0.0], [5.0]])
    assert rotor_command(raw).flatten().tolist() == [0.0, 0.0, 0.5, 1.0]


def test_chosen_vehicles_are_replaced_whole():
    a, b = fleet(seed=1), fleet(seed=2)
    chosen = torch.arange(N) % 3 == 0
    for mine, theirs, got in zip(a.tensors(), b.tensors(), a.replace(chosen, b).tensors(), strict=True):
        assert torch.equal(got[..., chosen], theirs[..., chosen]) and torch.equal(got[..., ~chosen], mine[..., ~chosen])


def test_the_derivative_is_the_limit_of_the_step():
    some, u, x = fleet("raptor"), commands(), states()
    airframe = airframe_from_columns(some.columns.unbind(0))
    pushed = some.disturbance.unbind(0)
    slope = torch.stack(derivative(x.unbind(0), u.unbind(0), airframe, pushed))
    h = 1e-6
    moved = torch.stack(semi_implicit_step(x.unbind(0), u.unbind(0), airframe, h, pushed))
    torch.testing.assert_close((moved - x) / h, slope, rtol=1e-3, atol=1e-2)

"""The parts of adversarial imitation against hand values, brute force and what they promise."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from control_stack.errors import InvalidInput, UnknownName
from control_stack.learning.imitation import discriminator as judge
from control_stack.learning.imitation.arms import ARMS, members
from control_stack.learning.imitation.draws import CHUNK, Draws
from control_stack.learning.imitation.networks import Adam, count, forward, initial, layers
from control_stack.learning.imitation.policy_file import Policies, Scales
from control_stack.learning.imitation.replay import Replay, Windows, returns

SIZES = (3, 16, 16, 1)


def steep(gain: float = 1.0, seeds: tuple[int, ...] = (0, 1)) -> torch.Tensor:
    return gain * initial(SIZES, seeds, 4)


def test_the_penalty_is_zero_for_slopes_up_to_one_and_known_above():
    assert judge.one_sided(torch.tensor([[0.0, 0.3, 1.0]])).item() == 0.0
    assert judge.one_sided(torch.tensor([[1.0, 2.0, 4.0]])).item() == pytest.approx(10.0 * (0 + 1 + 9) / 3)


def test_the_penalty_leaves_flat_discriminators_alone_and_turns_steep_ones_down():
    points = torch.randn(2, 64, 3, generator=torch.Generator().manual_seed(0))
    for gain, pushed in ((0.3, False), (4.0, True)):
        flat = steep(gain).requires_grad_()
        loss = judge.one_sided(judge.slopes(layers(flat, SIZES), points)).sum()
        (gradient,) = torch.autograd.grad(loss, flat)
        assert bool((gradient != 0.0).any()) is pushed
        if pushed:
            lower = judge.one_sided(judge.slopes(layers((flat - 1e-5 * gradient).detach(), SIZES), points)).sum()
            assert lower < loss


def test_slopes_are_those_of_finite_differences():
    stack = layers(steep(2.0).double(), SIZES)
    points = torch.randn(2, 20, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    found = judge.slopes(stack, points)
    h, rows = 1e-6, []
    for axis in torch.eye(3, dtype=torch.float64):
        rows.append((judge.logits(stack, points + h * axis) - judge.logits(stack, points - h * axis)) / (2 * h))
    assert torch.allclose(found.detach(), torch.stack(rows).norm(dim=0), atol=1e-5)


def test_interpolates_lie_between():
    expert, own = torch.ones(1, 3, 2), -torch.ones(1, 3, 2)
    between = judge.between(expert, own, torch.tensor([[0.0, 0.25, 1.0]]))
    assert torch.equal(between[0, :, 0], torch.tensor([-1.0, -0.5, 1.0]))


def test_spectral_norm_bounds_the_chosen_and_leaves_the_others():
    stack = layers(steep(6.0), SIZES)
    spectral = judge.Spectral([True, False], SIZES)
    spectral.turn(stack, 300)
    held = spectral(stack)
    for (weight, _), (before, _) in zip(held, stack, strict=True):
        assert np.linalg.norm(weight[0].numpy(), 2) == pytest.approx(1.0, abs=1e-4)
        assert torch.equal(weight[1], before[1])
    points = torch.randn(2, 5000, 3, generator=torch.Generator().manual_seed(2))
    slopes = judge.slopes(held, points).amax(1)
    assert slopes[0] <= 1.0 + 1e-3 < slopes[1]
    pairs = torch.randn(2, 5000, 3, generator=torch.Generator().manual_seed(3))
    rise = (judge.logits(held, points) - judge.logits(held, pairs)).abs() / (points - pairs).norm(dim=-1)
    assert rise[0].max() <= 1.0 + 1e-3


def test_reward_and_loss_have_their_hand_values():
    assert judge.reward(torch.tensor([0.0])).item() == pytest.approx(math.log(2.0), abs=1e-6)
    assert judge.reward(torch.tensor([1e4])).item() == pytest.approx(-math.log(1e-8), rel=1e-3)
    assert (judge.reward(torch.linspace(-50.0, 50.0, 101)) >= -1e-7).all()
    expert, own, label = 0.7, -0.4, 1.1
    d, e = 1 / (1 + math.exp(-expert)), 1 / (1 + math.exp(-own))
    entropy = -0.5 * sum(p * math.log(p) + (1 - p) * math.log(1 - p) for p in (d, e))
    wanted = -(label * math.log(d) + (1 - label) * math.log(1 - d)) - math.log(1 - e) - 1e-3 * entropy
    found = judge.losses(torch.tensor([[expert]]), torch.tensor([[own]]), torch.tensor([[label]]))
    assert found.item() == pytest.approx(wanted, abs=1e-6)


def test_n_step_returns_by_hand():
    windows = Windows(
        torch.zeros(1, 2, 4, 1), torch.tensor([[[1.0, 1, 1, 1], [1, 1, 0, 0]]]), torch.zeros(1), torch.zeros(1)
    )
    found = returns(torch.tensor([[[1.0, 2.0, 4.0, 8.0], [1.0, 2.0, 4.0, 8.0]]]), windows, 0.5)
    assert found.tolist() == [[1 + 1 + 1 + 1, 1 + 1]]


@pytest.mark.parametrize("steps_added", [25, 61])  # before and after the ring is full
def test_windows_equal_a_plain_loop(steps_added):
    random, rows, steps, gamma = np.random.default_rng(0), 20, 5, 0.9
    replay = Replay(40, 3, 2, 1, 1)
    history = []
    for t in range(steps_added):
        ended = random.random((3, 2)) < 0.25
        failed = ended & (random.random((3, 2)) < 0.5)
        mark = 100.0 * t + 10.0 * np.arange(3)[:, None] + np.arange(2)  # tells step, member and copy
        pairs = torch.from_numpy(np.stack([mark, mark], axis=-1)).float()
        replay.add(
            pairs, torch.from_numpy(mark[..., None] + 0.5).float(), torch.from_numpy(failed), torch.from_numpy(ended)
        )
        history.append((mark, ended, failed))
    kept = history[-rows:]
    ages = np.linspace(0.0, 0.999, 7)
    found = replay.windows(torch.from_numpy(np.tile(ages, (3, 1))), torch.full((3, 7), 0.6), steps, gamma)
    for member in range(3):
        for k, age in enumerate(ages):
            first, lane = int(age * (len(kept) - steps + 1)), 1
            last = first
            while last < first + steps - 1 and not kept[last][1][member, lane]:
                last += 1
            taken = last - first + 1
            assert found.counts[member, k].tolist() == [1.0] * taken + [0.0] * (steps - taken)
            assert found.pairs[member, k, :taken, 0].tolist() == [
                kept[first + j][0][member, lane] for j in range(taken)
            ]
            assert found.last[member, k, 0].item() == kept[last][0][member, lane] + 0.5
            failed = kept[last][2][member, lane]
            assert found.discount[member, k].item() == pytest.approx(0.0 if failed else gamma**taken)


def test_a_stack_is_its_networks_side_by_side_and_numpy_agrees():
    sizes = (4, 8, 8, 2)
    flat = initial(sizes, (0, 1, 2), 1)
    x = torch.randn(3, 5, 4, generator=torch.Generator().manual_seed(0))
    both = torch.tanh(forward(layers(flat, sizes), x))
    for k in range(3):
        assert torch.allclose(both[k], torch.tanh(forward(layers(flat[k : k + 1], sizes), x[k : k + 1]))[0], atol=1e-6)
    scales = Scales(np.full(4, 0.3), np.full(4, 2.0))
    policies = Policies(flat.numpy(), scales, sizes, ({}, {}, {}), {})
    assert np.allclose(policies(2.0 * x.numpy() + 0.3), both.numpy(), atol=1e-5)
    assert flat.shape == (3, count(sizes)) and not torch.equal(flat[0], flat[1])


def test_adam_is_torchs():
    weights = torch.randn(2, 5, generator=torch.Generator().manual_seed(0))
    theirs, mine = weights.clone().requires_grad_(), weights.clone()
    peer, own = torch.optim.Adam([theirs], lr=1e-2), Adam(mine, 1e-2)
    for k in range(20):
        gradient = torch.randn(2, 5, generator=torch.Generator().manual_seed(k))
        theirs.grad = gradient.clone()
        peer.step()
        own.step(mine, gradient)
    assert torch.allclose(theirs.detach(), mine, atol=1e-6)


def test_draws_depend_on_seed_and_step_alone():
    both, alone = Draws((3, 4, 3), 2, 8, 1), Draws((4,), 2, 8, 1)
    late = both(CHUNK + 7)
    assert torch.equal(both(CHUNK + 7).age, late.age)
    assert torch.equal(late.age[1], alone(CHUNK + 7).age[0])
    assert torch.equal(late.explore[0], late.explore[2]) and not torch.equal(late.explore[0], late.explore[1])
    assert not torch.equal(both(7).age, late.age)


def test_arms_are_named_once_and_exist():
    stack = members(tuple(ARMS), 5, 2)
    assert len(stack) == 12 and [m.arm for m in stack[-2:]] == ["cloning"] * 2 and {m.seed for m in stack} == {5, 6}
    with pytest.raises(UnknownName, match="arm 'bot'"):
        members(("bot",), 0, 1)
    for arms, seeds in (((), 1), (("both", "both"), 1), (("both",), 0)):
        with pytest.raises(InvalidInput):
            members(arms, 0, seeds)

"""A stack learns what its members would learn alone, goes on where it was stopped, and visibly imitates."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from imitation_toys import expert, point, shown

from control_stack.learning.imitation.arms import ARMS, members
from control_stack.learning.imitation.quadrotor_lanes import QuadrotorLanes
from control_stack.learning.imitation.tasks import TASKS, episodes
from control_stack.learning.imitation.trainer import Recipe, Trainer

SHORT = Recipe(steps=90, batch=16, width=16, capacity=60, lookahead=5, warmup=30, judged=3, rounds=2)


def trained(stack, recipe=SHORT, task=None, folder=None, report=lambda *_: None):
    trainer = Trainer(task or point(), stack, shown(), recipe, report)
    trainer.run(folder)
    return trainer


@pytest.mark.parametrize("copies", [1, 2])
def test_members_of_a_stack_learn_what_they_learn_alone(copies):
    stack = members(tuple(ARMS), 0, 2)
    together = trained(stack, task=point(copies))
    for arm in ARMS:
        alone = trained(members((arm,), 1, 1), task=point(copies))
        place = [k for k, member in enumerate(stack) if member.arm == arm and member.seed == 1]
        own = together.policies().weights[place]
        assert np.allclose(own, alone.policies().weights, atol=2e-4), arm
        other = together.policies().weights[[k for k, m in enumerate(stack) if m.arm == arm and m.seed == 0]]
        assert not np.allclose(own, other, atol=1e-2)


def test_arms_part_from_the_same_start_where_their_rules_do():
    stack = members(tuple(ARMS), 0, 1)
    trainer = trained(stack)
    weights = dict(zip([member.arm for member in stack], trainer.policies().weights, strict=True))
    for arm, other in itertools.combinations(ARMS, 2):
        # A discriminator this young is flat, and the one-sided penalty asks nothing of it.
        same = {arm, other} in ({"none", "penalty"}, {"spectral", "both"})
        assert np.array_equal(weights[arm], weights[other]) is same, (arm, other)


def test_a_stopped_training_goes_on_exactly(tmp_path):
    class Stopped(Exception):
        pass

    def stop(done, _):
        if done == 75:  # fifteen steps after the last checkpoint
            raise Stopped

    stack = members(("none", "both", "cloning", "constant"), 0, 2)
    unbroken = trained(stack)
    with pytest.raises(Stopped):
        trained(stack, folder=tmp_path, report=stop)
    resumed = trained(stack, folder=tmp_path)
    assert np.array_equal(unbroken.policies().weights, resumed.policies().weights)
    for name, value in unbroken.agents.state().items():
        assert torch.equal(value, resumed.agents.state()[name]), name
    assert [r["scores"] for r in unbroken.course] == [r["scores"] for r in resumed.course]
    assert [r["steps"] for r in resumed.course] == [30, 60, 90]


def test_cloning_learns_the_expert():
    recipe = Recipe(steps=3000, batch=32, width=32, warmup=0, judged=3, rounds=8)
    trainer = trained(members(("cloning",), 0, 2), recipe)
    task = point()
    best = episodes(task, task.make(8), 80_000 + np.arange(8), expert).mean()
    chance = episodes(task, task.make(8), 80_000 + np.arange(8), lambda x: np.zeros((8, 1))).mean()
    reached = trainer.returns(80_000).mean(1)
    assert (reached > best - 0.1 * (best - chance)).all()


@pytest.mark.slow
def test_adversarial_imitation_learns_from_acting():
    recipe = Recipe(steps=4000, batch=32, width=32, warmup=300, judged=4, rounds=8)
    trainer = trained(members(("both",), 0, 2), recipe)
    task = point()
    seeds = 80_000 + np.arange(8)
    best = episodes(task, task.make(8), seeds, expert).mean()
    chance = episodes(task, task.make(8), seeds, lambda x: np.random.default_rng(0).uniform(-1, 1, (8, 1))).mean()
    assert (trainer.returns(80_000).mean(1) > chance + 0.5 * (best - chance)).all()


def test_the_foundation_policy_masters_the_quadrotor_task_and_lanes_go_on():
    from control_stack.learning.imitation.experts import foundation

    task, lanes = TASKS["quadrotor"], QuadrotorLanes(3)
    act = foundation(lanes, 3)
    assert (episodes(task, lanes, np.arange(3), act) > 0.9 * task.horizon).all()
    seen = np.stack([lanes.begin(k, k) for k in range(3)])
    assert seen.shape == (3, len(task.observation))
    other = QuadrotorLanes(3)
    other.restore(lanes.state())
    push = np.full((3, 4), 0.1)
    for a, b in zip(lanes.step(push, np.ones(3, bool)), other.step(push, np.ones(3, bool)), strict=True):
        assert np.array_equal(a, b)


def test_nmpc_masters_the_quadrotor_task_too():
    pytest.importorskip("casadi")
    pytest.importorskip("daqp")
    from controllers.nmpc.demonstrator import nmpc_expert

    task, lanes = replace(TASKS["quadrotor"], horizon=250), QuadrotorLanes(2)
    returns = episodes(task, lanes, np.arange(2), nmpc_expert(lanes))
    assert (returns > 0.93 * task.horizon).all()


def test_references_of_lanes_are_those_that_are_observed():
    lanes = QuadrotorLanes(2)
    for k in range(2):
        lanes.begin(k, 7 + k)
    for _ in range(40):
        seen, _, _ = lanes.step(np.zeros((2, 4)), np.ones(2, bool))
    x, t = lanes.vehicles(), lanes.clock()
    for k in range(2):
        now = lanes.reference(k, float(t[k]))
        assert np.allclose(x[k, :3] - now.position_w, seen[k, :3], atol=1e-5)
        assert np.allclose(x[k, 3:6] - now.velocity_w, seen[k, 12:15], atol=1e-5)
        for when in (t[k], 6.0):  # while it speeds up and after
            h, here = 1e-4, lanes.reference(k, float(when))
            assert here.ahead is not None
            before, after = lanes.reference(k, float(when) - h), here.ahead(h)
            assert np.allclose((after.position_w - before.position_w) / (2 * h), here.velocity_w, atol=1e-6)
            assert np.allclose((after.velocity_w - before.velocity_w) / (2 * h), here.acceleration_w, atol=1e-6)


def test_quadrotor_actions_are_limited_to_the_box_and_losses_end_episodes():
    lanes = QuadrotorLanes(2)
    assert np.allclose(lanes.scaled(lanes.raw(np.array([[-0.2, 0.0, 0.3, 0.5]] * 2))), [[-0.2, 0.0, 0.3, 0.5]] * 2)
    for lane in range(2):
        lanes.begin(lane, lane)
    for _ in range(200):
        seen, reward, failed = lanes.step(np.array([[-1.0] * 4, [1.0] * 4]), np.ones(2, bool))
        assert np.isfinite(seen).all() and np.isfinite(reward).all()
    assert failed.all() and (reward == 0.0).all()


@pytest.mark.parametrize("name", ["pendulum", "hopper"])
def test_mujoco_lanes_go_on_exactly(name):
    for module in ("gymnasium", "mujoco", "imageio"):
        pytest.importorskip(module)
    task = TASKS[name]
    lanes, other = task.make(2), task.make(2)
    seen = np.stack([lanes.begin(k, k) for k in range(2)])
    assert seen.shape == (2, len(task.observation))
    random, on = np.random.default_rng(0), np.ones(2, bool)
    for _ in range(3):
        lanes.step(random.uniform(-0.1, 0.1, (2, len(task.action))), on)
    other.restore(lanes.state())
    for _ in range(5):
        push = random.uniform(-0.1, 0.1, (2, len(task.action)))
        for a, b in zip(lanes.step(push, on), other.step(push, on), strict=True):
            assert np.allclose(a, b, atol=1e-12)

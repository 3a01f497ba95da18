"""Workers: gradients are averaged, runs resume to the last bit, imitation imitates, Ray runs the same worker."""

from __future__ import annotations

import sys
import threading
from dataclasses import replace

import numpy as np
import pytest
import torch

from control_stack.errors import InvalidInput, MissingDependency, TrainingAborted
from control_stack.foundation.airframes import LAWS, sample
from control_stack.foundation.training import checkpoints, parallel, student
from control_stack.foundation.training import recipe as recipes
from control_stack.foundation.training.distillation import Imitation
from control_stack.foundation.training.draws import Own
from control_stack.foundation.training.policy_gradient import Descent, Settings
from control_stack.foundation.training.recipe import Recipe
from control_stack.foundation.training.rollout import Nursery
from control_stack.foundation.training.teachers import Teachers

SETTINGS = Settings(vehicles=8, window=5, rate=1e-3, mean_windows=2.0)
TINY = Recipe(teachers=5, width=8, episodes=2, shared=6, specialised=6, distilled=6, vehicles=8, window=5, workers=2,
              teacher_driven=3, compiled=False)  # fmt: skip


class Stop:
    """Asks a worker to stop after so many updates."""

    def __init__(self, after=10**9):
        self.left = after

    def __call__(self):
        self.left -= 1
        return self.left <= 0


def plan_of(kind, folder):
    if kind == "shared":
        return parallel.Plan(6, 1, recipes._BuildShared(TINY, SETTINGS), SETTINGS), shared()
    shards = recipes.teacher_airframes(replace(TINY, workers=1))
    if kind == "teachers":
        build = recipes._BuildTeachers(TINY, SETTINGS, shards, 2, "teachers")
        return parallel.Plan(6, 1, build, SETTINGS, together=False), shared()
    stack, path = Teachers(5, 8).stacked(shared()), recipes.taught_path(folder, 0)
    recipes.save_shard(stack, shards[0], torch.tensor([1, 1, 0, 1, 1]), path)
    build = recipes._BuildImitation(TINY, SETTINGS, folder)
    return parallel.Plan(6, 1, build, SETTINGS), student.initial_weights(torch.Generator().manual_seed(1))


def shared():
    return Teachers(1, 8).initial_weights(torch.Generator().manual_seed(0))


@pytest.mark.parametrize("kind", ["shared", "teachers", "imitation"])
def test_a_resumed_run_is_an_uninterrupted_one_to_the_last_bit(tmp_path, kind):
    plan, first = plan_of(kind, tmp_path)
    reports = []
    for name, stops in (("whole", (Stop(),)), ("cut", (Stop(2), Stop(3), Stop()))):
        (tmp_path / name).mkdir()
        for stop in stops:
            parallel.work(0, plan, first, tmp_path / name, parallel.Alone(), lambda *r: reports.append(r), stop)
    whole, cut = (checkpoints.read(tmp_path / name, 0, [0]) for name in ("whole", "cut"))
    assert whole.done == cut.done == 6
    assert [r[1] for r in reports] == [1, 2, 3, 4, 5, 6] * 2
    assert [r[2] for r in reports[:6]] == [r[2] for r in reports[6:]]
    for part in ("weights", "descent", "source"):
        one, two = getattr(whole, part), getattr(cut, part)
        assert one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one), part


def test_what_is_done_is_not_done_again(tmp_path, monkeypatch):
    plan, first = plan_of("shared", tmp_path)
    parallel.work(0, plan, first, tmp_path, parallel.Alone(), lambda *r: None)
    monkeypatch.setattr(parallel, "_run_processes", lambda *a: pytest.fail("ran"))
    (again,) = parallel.run(plan, first, tmp_path, lambda *r: None)
    stored = checkpoints.read(tmp_path, 0, [0]).weights
    assert parallel.finished(plan, tmp_path) and all(torch.equal(again[name], stored[name]) for name in again)


def test_a_checkpoint_counts_once_all_workers_have_written_theirs(tmp_path):
    for rank, done in ((0, 5), (1, 5), (0, 9)):
        checkpoints.save(tmp_path, rank, {"a": torch.full((1,), done)}, {}, {}, done, 1.0)
    assert checkpoints.newest(tmp_path, [0, 1]) == 5 and checkpoints.newest(tmp_path, [0]) == 9
    assert checkpoints.newest(tmp_path, [0, 1, 2]) == -1
    assert checkpoints.read(tmp_path, 0, [0, 1]).weights["a"].item() == 5
    checkpoints.drop_older(tmp_path, 0, 9)
    assert checkpoints.read(tmp_path, 0, [0, 1]) is None


class Fixed:
    """A source of the same gradients for ever."""

    policies = 1

    def __init__(self, value):
        self.weights = {"a": torch.zeros(2, requires_grad=True), "b": torch.zeros(1, 3, requires_grad=True)}
        self.value = float(value)

    def __call__(self):
        return torch.ones(1), [torch.full_like(w, self.value) for w in self.weights.values()]

    def state(self):
        return {}

    def restore(self, state):
        pass


def test_workers_of_one_policy_all_take_the_mean_of_their_gradients():
    workers = 3
    sums, wish, barrier = torch.zeros(workers, 5), torch.zeros(1), threading.Barrier(workers)
    got = {}

    def one(rank):
        team = parallel.Member(rank, sums, wish, barrier)
        got[rank] = team.mean(Fixed(rank)()[1]), team.agreed(2 if rank == 0 else 1)

    threads = [threading.Thread(target=one, args=(rank,)) for rank in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for gradients, agreed in got.values():
        assert agreed == 2
        assert [g.shape for g in gradients] == [(2,), (1, 3)] and all((g == 1.0).all() for g in gradients)


def test_processes_train_together_stop_when_told_and_go_on(tmp_path):
    """Two processes end with the same weights; interrupted, they save, and another run does only the rest."""
    plan = parallel.Plan(2000, 2, recipes._BuildShared(TINY, SETTINGS), SETTINGS)
    seen = []

    def interrupt(rank, done, value):
        seen.append(done)
        if (rank, done) == (0, 3):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        parallel.run(plan, shared(), tmp_path, interrupt)
    done = checkpoints.newest(tmp_path, [0, 1])
    assert 3 <= done < 2000
    one, two = (checkpoints.read(tmp_path, rank, [0, 1]).weights for rank in (0, 1))
    assert all(torch.equal(one[name], two[name]) for name in one)
    rest = []
    plan = replace(plan, updates=done + 2)
    parallel.run(plan, shared(), tmp_path, lambda rank, done, value: rest.append((rank, done)))
    assert sorted(rest) == [(0, done + 1), (0, done + 2), (1, done + 1), (1, done + 2)]


def broken(rank, weights):
    raise ValueError("a worker that cannot begin")


def test_a_worker_that_dies_ends_the_run_in_one_line(tmp_path):
    with pytest.raises(TrainingAborted, match="Run again to resume"):
        parallel.run(parallel.Plan(3, 1, broken, SETTINGS), shared(), tmp_path, lambda *r: None)


def test_each_of_the_stacked_policies_is_clipped_alone():
    weights = {"w": torch.zeros(2, 3, 1, requires_grad=True)}
    gradient = torch.tensor([[[3.0], [4.0], [0.0]], [[0.1], [0.0], [0.0]]])
    norms = Descent(weights, 2, replace(SETTINGS, clip=0.5))([gradient], 0.0)
    torch.testing.assert_close(norms, torch.tensor([5.0, 0.1]))
    torch.testing.assert_close(weights["w"].grad[0].flatten(), torch.tensor([0.3, 0.4, 0.0]))
    torch.testing.assert_close(weights["w"].grad[1].flatten(), torch.tensor([0.1, 0.0, 0.0]))


def test_imitation_of_a_linear_teacher_learns():
    """Teachers that answer a linear function of what the student sees can be matched; the loss falls to a tenth."""
    own = sample(LAWS["raptor"], 4, np.random.default_rng(0))
    teachers = Teachers(4, 8)
    taught = {name: torch.zeros_like(w) for name, w in teachers.stacked(shared()).items()}
    for k in range(4):  # tanh of little is linear: vertical error and speed, tilt rates
        taught["0.weight"][:, 0, 2], taught["0.weight"][:, 1, 14] = 0.1, 0.1
        taught["0.weight"][:, 2, 15], taught["0.weight"][:, 3, 16] = 0.02, 0.02
        taught["1.weight"][:, k, k] = 1.0
    sides = ((-1, 1), (-1, -1), (1, -1), (1, 1))
    for motor, (roll, pitch) in enumerate(sides):
        taught["2.weight"][:, motor, :4] = torch.tensor([-3.0, -3.0, -3.0 * roll, -3.0 * -pitch])
    settings = replace(SETTINGS, vehicles=64, window=15, rate=1e-2)
    nursery = Nursery(Own(own, sensors=False), 64, 16, 3, 5.0)
    source = Imitation(student.initial_weights(torch.Generator().manual_seed(2)), teachers, taught, nursery, settings,
                       teacher_driven=60, compiled=False)  # fmt: skip
    descent = Descent(source.weights, 1, settings)
    losses = []
    for _ in range(120):
        loss, gradients = source()
        losses.append(float(loss.mean()))
        descent(gradients, 0.0)
    assert np.mean(losses[-10:]) < 0.2 * np.mean(losses[:5])


def test_dropped_teachers_are_not_listened_to(tmp_path):
    plan, first = plan_of("imitation", tmp_path)
    source = plan.build(0, first)
    assert source._settings.vehicles == 8 and source._taught["0.weight"].shape[0] == 4


@pytest.mark.parametrize("change", [{"workers": 0}, {"teachers": 1}, {"vehicles": 0}, {"workers": 1000}])
def test_recipes_that_cannot_be_trained_are_refused(change):
    with pytest.raises(InvalidInput, match="recipe"):
        replace(TINY, **change)


@pytest.fixture(scope="module")
def ray():
    """A Ray of this machine, ended with the tests that use it."""
    module = pytest.importorskip("ray")
    yield
    module.shutdown()


@pytest.mark.slow
def test_ray_tasks_train_what_processes_train(tmp_path, ray):
    build = recipes._BuildTeachers(TINY, SETTINGS, recipes.teacher_airframes(TINY), 2, "teachers")
    plan = parallel.Plan(3, 2, build, SETTINGS, together=False)
    seen = []
    rayed = parallel.run(plan, shared(), tmp_path / "ray", lambda *r: seen.append(r[:2]), "ray")
    assert sorted(seen) == [(0, 1), (0, 2), (0, 3), (1, 1), (1, 2), (1, 3)]
    assert [w["0.weight"].shape[0] for w in rayed] == [3, 2]
    for rank in (0, 1):
        folder = tmp_path / "local"
        folder.mkdir(exist_ok=True)
        parallel.work(rank, plan, shared(), folder, parallel.Alone(), lambda *r: None)
        local = checkpoints.read(folder, rank, [rank]).weights
        assert all(torch.equal(local[name], rayed[rank][name]) for name in local)


@pytest.mark.slow
def test_a_ray_task_that_fails_ends_the_run_in_one_line(tmp_path, ray):
    def build(rank, weights):
        raise RuntimeError("the machine is gone")

    with pytest.raises(TrainingAborted, match="ended early: .*the machine is gone. Run again to resume.$"):
        parallel.run(parallel.Plan(3, 1, build, SETTINGS, together=False), shared(), tmp_path, lambda *r: None, "ray")


def test_without_ray_its_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    plan, first = plan_of("teachers", tmp_path)
    with pytest.raises(MissingDependency, match="ray"):
        parallel.run(plan, first, tmp_path / "x", lambda *r: None, "ray")

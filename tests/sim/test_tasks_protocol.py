"""What holds for every task: a step is a function of state and input, whatever was before; limits; bad input."""

from __future__ import annotations

import numpy as np
import pytest

from control_stack.artefacts.runs import plain
from control_stack.errors import InvalidInput, UnknownName
from control_stack.learning.spec import Goal, TaskSpec, spec_from_card
from sim.tasks.collect import explore
from sim.tasks.factory import TASKS, make_task

pytest.importorskip("pybullet")
every_task = pytest.mark.parametrize("name", TASKS)


@pytest.fixture
def task(name):
    made = make_task(name)
    yield made
    made.close()
    made.close()  # twice is allowed


def play(task, inputs):
    return np.array([task.step(u) for u in inputs])


def inputs_of(task, count=12, seed=0):
    rng = np.random.default_rng(seed)
    return rng.uniform(task.spec.input_lower, task.spec.input_upper, (count, len(task.spec.inputs)))


@every_task
def test_equal_seeds_give_equal_episodes_and_others_do_not(name, task):
    other = make_task(name)
    (states, inputs, contact), again = explore(task, 5, 0, 1, 10)[0], explore(other, 5, 0, 1, 10)[0]
    np.testing.assert_array_equal(states, again[0])
    np.testing.assert_array_equal(inputs, again[1])
    np.testing.assert_array_equal(contact, again[2])
    assert not np.array_equal(states[0], explore(other, 6, 0, 1, 10)[0][0][0])
    other.close()


@every_task
def test_a_copy_set_to_a_state_goes_on_bit_for_bit(name, task):
    """The clone has another past: were anything hidden in the simulator, contacts say, it would show."""
    states, inputs, _ = explore(task, 1, 3, 1, 24)[0]
    middle = len(inputs) // 2
    clone = make_task(name)
    clone.reset(99)
    play(clone, inputs_of(clone, 3))
    np.testing.assert_array_equal(clone.set_state(states[middle]), states[middle])
    np.testing.assert_array_equal(play(clone, inputs[middle:]), states[middle + 1 :])
    clone.close()


@every_task
def test_states_are_copies(name, task):
    state = task.reset(0)
    state[:] = 7.0
    assert not np.any(task.state == 7.0)


@every_task
def test_inputs_are_limited_and_what_was_applied_is_told(name, task):
    task.reset(0)
    task.step(100.0 * task.spec.input_upper)
    assert np.all(task.applied <= task.spec.input_upper)
    start, applied = task.reset(0), task.applied
    limited = task.step(applied)
    task.set_state(start)
    np.testing.assert_array_equal(task.step(100.0 * task.spec.input_upper), limited)


@every_task
def test_explored_states_lie_within_the_limits_of_the_spec(name, task):
    for states, inputs, _ in explore(task, 2, 0, 3, 20):
        assert np.all(inputs <= task.spec.input_upper) and np.all(inputs >= task.spec.input_lower)
        assert np.all(states[:-1] <= task.spec.state_upper) and np.all(states[:-1] >= task.spec.state_lower)


@every_task
def test_goals_are_reached_at_their_target_and_not_at_the_start(name, task):
    start, goal, spec = task.reset(4), task.goal(4), task.spec
    there = np.linalg.lstsq(spec.outputs, goal.target, rcond=None)[0]
    assert spec.success(there, goal) and spec.cost(there, goal) == pytest.approx(0.0, abs=1e-12)
    assert not spec.success(start, goal) and spec.cost(start, goal) > 0.01
    np.testing.assert_array_equal(task.goal(4).target, goal.target)


@every_task
def test_the_cost_is_convex_and_grows_away_from_the_goal(name, task):
    spec, goal, rng = task.spec, task.goal(1), np.random.default_rng(0)
    a, b = rng.uniform(spec.state_lower, spec.state_upper, (2, 50, len(spec.state)))
    middle = spec.cost((a + b) / 2.0, goal)
    assert np.all(middle <= (spec.cost(a, goal) + spec.cost(b, goal)) / 2.0 + 1e-12)


@every_task
def test_a_spec_survives_its_card(name, task):
    again = spec_from_card(plain(task.spec))
    assert isinstance(again, TaskSpec)
    for field, value in vars(task.spec).items():
        np.testing.assert_array_equal(getattr(again, field), value)


@every_task
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_bad_input_is_refused_and_changes_nothing(name, task, bad):
    state = task.reset(0)
    u = np.zeros(len(task.spec.inputs))
    u[0] = bad
    with pytest.raises(InvalidInput, match=task.spec.inputs[0].split()[0]):
        task.step(u)
    with pytest.raises(InvalidInput, match="needs"):
        task.step(np.zeros(len(u) + 1))
    broken = state.copy()
    broken[-1] = bad
    with pytest.raises(InvalidInput, match="not finite"):
        task.set_state(broken)
    with pytest.raises(InvalidInput, match="needs"):
        task.set_state(state[:-1])
    np.testing.assert_array_equal(task.state, state)


@every_task
def test_goals_outside_are_refused_by_name(name, task):
    goal = task.goal(0)
    far = goal.target.copy()
    far[1] = 50.0
    with pytest.raises(InvalidInput, match="outside"):
        task.spec.check_goal(Goal(far, goal.half_width, goal.free))
    with pytest.raises(InvalidInput, match="half_width"):
        task.spec.check_goal(Goal(goal.target, -goal.half_width, goal.free))
    with pytest.raises(InvalidInput, match="target needs"):
        task.spec.check_goal(Goal(far[:-1], goal.half_width, goal.free))


@every_task
def test_a_task_must_be_reset_first(name):
    fresh = make_task(name)
    with pytest.raises(InvalidInput, match="reset"):
        fresh.step(np.zeros(len(fresh.spec.inputs)))
    fresh.close()


def test_unknown_tasks_are_refused():
    with pytest.raises(UnknownName, match="expected one of: pushing-disc"):
        make_task("juggling")

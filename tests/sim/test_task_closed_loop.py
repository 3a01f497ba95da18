"""A task in closed loop: when commands act, what is logged, and goals as text."""

from __future__ import annotations

import numpy as np
import pytest

from control_stack.artefacts.joints import read_joints, topic_in
from control_stack.artefacts.log import FlightLog
from control_stack.errors import InvalidInput, UnknownName
from control_stack.learning.spec import Goal
from sim.tasks.closed_loop import ClosedLoop, StepDelay, chosen_goal
from sim.tasks.factory import make_task

US = np.random.default_rng(0).uniform(-0.05, 0.05, (6, 1))


@pytest.fixture
def task():
    made = make_task("piecewise")
    made.reset(3)
    return made


def applied(task, delay: StepDelay, waits) -> np.ndarray:
    """Inputs that acted, by step."""
    found, honest = [], task.step
    task.step = lambda u: found.append(np.array(u)) or honest(u)
    loop = ClosedLoop(task, task.goal(3), 6, delay)
    for u, waited in zip(US, waits, strict=False):
        if not loop.over:
            loop.answer(u, waited)
    return np.array(found)


def test_without_delay_each_command_acts_at_once(task):
    np.testing.assert_array_equal(applied(task, StepDelay("none"), [9.0] * 6), US)


def test_a_fixed_delay_is_one_step(task):
    np.testing.assert_array_equal(applied(task, StepDelay("fixed"), [0.0] * 6), [[0.0], *US[:5]])


def test_a_measured_delay_is_as_many_whole_steps_as_it_took_at_least_one(task):
    dt = task.spec.dt
    found = applied(task, StepDelay("measured"), [0.0, 0.5 * dt, 2.5 * dt, dt, 0.0, 0.0])
    # The first two take one step, the third three: the second acts until it is there.
    np.testing.assert_array_equal(found, [[0.0], US[0], US[1], US[1], US[1], US[2]])


@pytest.mark.parametrize(("kind", "acting"), [("none", [US[0], [0.0], US[2]]), ("fixed", [[0.0], US[0], [0.0]])])
def test_an_answer_without_a_command_is_zero_input_and_is_counted(task, kind: str, acting):
    found, honest = [], task.step
    task.step = lambda u: found.append(np.array(u)) or honest(u)
    loop = ClosedLoop(task, task.goal(3), 6, StepDelay(kind))
    for u in (US[0], None, US[2]):
        loop.answer(u)
    np.testing.assert_array_equal(found, acting)
    assert (loop.taken, loop.missed) == (3, 1)


def test_an_unknown_delay_is_refused():
    with pytest.raises(UnknownName, match="none, fixed, measured"):
        StepDelay("some")


def test_the_log_holds_states_inputs_goal_and_plans(task, tmp_path):
    path, states = tmp_path / "push.mcap", [task.state]
    with FlightLog(path) as log:
        loop = ClosedLoop(task, task.goal(3), 6, StepDelay(), log)
        for u in US:
            loop.planned(loop.t, {"cost": "1.5"})
            loop.answer(u)
            states.append(task.state)
    assert loop.over
    read = read_joints(path)
    found = topic_in(read, "joint_states", path)
    np.testing.assert_array_equal(found.columns("position", task.spec.state), states)
    np.testing.assert_allclose(found.t, task.spec.dt * np.arange(7))
    np.testing.assert_array_equal(topic_in(read, "actuators/command", path).columns("velocity", task.spec.inputs), US)
    np.testing.assert_array_equal(
        topic_in(read, "goal", path).columns("position", task.spec.output_names)[0], task.goal(3).target
    )
    assert [(name, values) for _, name, values in read.statuses] == [("planner", {"cost": "1.5"})] * 6
    with pytest.raises(InvalidInput, match="'battery'.*joint_states"):
        topic_in(read, "battery", path)
    with pytest.raises(InvalidInput, match="no position of 'tail'"):
        found.columns("position", ["tail"])


def test_goals_are_drawn_or_given_as_a_pose():
    pytest.importorskip("pybullet")
    task = make_task("pushing-t")
    own = chosen_goal(task, "", 5)
    np.testing.assert_array_equal(own.target, task.goal(5).target)
    given = chosen_goal(task, "0.1,-0.05,0.5", 5)
    np.testing.assert_allclose(task.shape.pose(given.target.reshape(-1, 2)), [0.1, -0.05, 0.5], atol=1e-12)
    assert isinstance(given, Goal) and (given.half_width == own.half_width).all()
    np.testing.assert_array_equal(chosen_goal(task, "0.1,-0.05", 5).target, chosen_goal(task, "0.1,-0.05,0", 5).target)
    for text in ("0.1", "a,b", "nan,0", "1,2,3,4"):
        with pytest.raises(InvalidInput, match="x,y"):
            chosen_goal(task, text, 5)
    with pytest.raises(InvalidInput, match="outside"):
        chosen_goal(task, "0.29,0", 5)
    task.close()


def test_a_pose_is_no_goal_of_other_tasks(task):
    with pytest.raises(InvalidInput, match="piecewise draws its own"):
        chosen_goal(task, "0.1,0.1", 3)

"""``control-stack push --no-ros``: a goal that is reached through a model made by hand, what is left, and bad input."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from sampling_toys import HEAD_ON_SEED, head_on, point, saved

from control_stack.artefacts.joints import read_joints, topic_in
from control_stack.cli import episode
from control_stack.learning.data import load
from sim.tasks.factory import make_task

pytest.importorskip("pybullet")
GOAL = "0.09,-0.087"  # 8 cm in +x of where the disc starts


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return saved(head_on(), tmp_path / "model.safetensors")


@pytest.fixture
def push(run: Callable, model: Path, tmp_path: Path) -> Callable:
    """push(*options) in process, head-on."""

    def call(*options: str, out: str = "run"):
        # The effort keeps the pusher in line, where the model holds.
        base = (
            "push",
            "--no-ros",
            "--model",
            str(model),
            "--seed",
            str(HEAD_ON_SEED),
            f"--goal={GOAL}",
            "--effort",
            "0.07",
        )
        done = run(*base, "--steps", "25", "--out", str(tmp_path / out), *options)
        done.folder = tmp_path / out
        return done

    return call


@pytest.mark.parametrize("controller", ["cem", "icem", "mppi"])
def test_samplers_push_most_of_the_way(push: Callable, controller: str) -> None:
    """All of it within the tolerance is luck of the draws: off the line the model does not hold."""
    done = push("--controller", controller)
    summary = done.summary
    assert done.code == int(not summary["success"]) and summary["completed"]
    assert summary["final_cost"] < 0.03 and sum(summary["plans"].values()) == 25  # 0.08 at the start
    expected = {"controller": controller, "task": "pushing-disc", "relus": 1, "ros": False, "seed": HEAD_ON_SEED}
    assert {key: summary[key] for key in expected} == expected
    assert sorted(path.name for path in done.folder.iterdir()) == [
        "config.yaml",
        "push.mcap",
        "push.png",
        "summary.json",
    ]
    assert (done.folder / "push.png").stat().st_size > 10_000 and "goal held at the end" in done.out


def test_the_goal_is_reached_and_held(push: Callable, tmp_path: Path) -> None:
    pytest.importorskip("highspy")
    (tmp_path / "settings.json").write_text(json.dumps({"settings": {"mip": {"max_nodes": 50}}}))
    done = push("--controller", "mip", "--horizon", "6", "--settings", str(tmp_path / "settings.json"))
    assert (done.code, done.err) == (0, ""), done.out
    assert done.summary["plans"].get("optimal", 0) > 10
    assert done.summary["success"] and 0.2 < done.summary["first_reached_s"] < 2.4


def test_summary_and_log_agree_with_the_simulator(push: Callable) -> None:
    done = push("--controller", "cem")
    data, task = load(done.folder), make_task("pushing-disc")
    x = task.reset(HEAD_ON_SEED)
    costs, goal = [], np.array(done.summary["goal"]["target"])
    for k, u in enumerate(data.inputs[0]):
        np.testing.assert_array_equal(x, data.states[0, k])
        x = task.step(u)
        costs.append(np.abs(x[:2] + x[2:] - goal).sum())
    assert len(costs) == 25 and done.summary["mean_cost"] == pytest.approx(np.mean(costs))
    task.close()


def test_equal_calls_leave_equal_states_and_seeds_differ(push: Callable) -> None:
    a, b = (push("--controller", "icem", out=name) for name in "ab")
    c = push("--controller", "icem", "--seed", "7", "--goal", "", out="c")
    one, two, three = (load(done.folder).states for done in (a, b, c))
    np.testing.assert_array_equal(one, two)
    assert not np.array_equal(one, three)


def test_a_delay_acts_a_step_later(push: Callable) -> None:
    at_once, later = (push("--controller", "cem", "--compute-delay", kind, out=kind) for kind in ("none", "fixed"))
    soon, late = (
        topic_in(read_joints(done.folder / "push.mcap"), "actuators/command", "").fields["velocity"]["pusher.vx [m/s]"]
        for done in (at_once, later)
    )
    assert soon[0] > 0.1 and late[0] == 0.0 and late[1] > 0.1


def test_constraints_by_name_are_kept_and_unknown_names_refused(push: Callable, tmp_path: Path) -> None:
    file = tmp_path / "constraints.yaml"
    file.write_text('slow: {terms: {"pusher.vx [m/s]": 1.0}, upper: 0.15}')
    done = push("--controller", "cem", "--steps", "3", "--effort", "0.003", "--constraints", str(file))
    assert done.code == 1 and 0.05 < load(done.folder).inputs[..., 0].max() <= 0.15 + 1e-4  # without: more, at once
    file.write_text('wall: {terms: {"pusher.z [m]": 1.0}, upper: 0.3}')
    done = push("--controller", "cem", "--constraints", str(file), out="no")
    assert done.code == 2 and "unknown state or input 'pusher.z [m]'" in done.err and not done.folder.exists()


def test_a_goal_that_is_not_held_is_a_failure(push: Callable) -> None:
    done = push("--controller", "cem", "--steps", "2")
    assert done.code == 1 and done.err.splitlines() == ["failed: the goal is not held after 0.2 s"]
    assert done.summary["success"] is False and done.summary["first_reached_s"] is None


def test_interrupted_the_folder_is_complete(push: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    class Bar(episode.tqdm):
        def update(self, n: float = 1) -> bool | None:
            if self.n + n >= 5:
                raise KeyboardInterrupt
            return super().update(n)

    monkeypatch.setattr(episode, "tqdm", Bar)
    done = push("--controller", "cem")
    assert (done.code, done.err) == (130, "interrupted\n")
    assert done.summary["interrupted"] and done.summary["steps_taken"] == 5 and not done.summary["completed"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--controller", "simplex"), "unknown controller 'simplex'; expected one of: mip, branching, cem, icem, mppi"),
        (("--goal=0.4,0",), "centre.x [m] = 0.4 lies outside -0.3 .. 0.3"),
        (("--goal=here",), "a goal is x,y or x,y,angle in m and rad, got 'here'"),
        (("--task", "pushing-box"), "a model of pushing-disc, not of pushing-box"),
        (("--model", "none.safetensors"), "none.safetensors does not exist"),
        (("--steps", "0"), "--steps must be from 1 to 10000, got 0"),
        (("--horizon", "0"), "--horizon must be from 1 to 50, got 0"),
        (("--deadline", "nan"), "--deadline must be from 0 to 60 s, got nan"),
        (("--effort=-1",), "--effort must be at least 0, got -1"),
        (("--seed=-1",), "--seed must be from 0"),
        (("--compute-delay", "long"), "unknown compute delay 'long'; expected one of: none, fixed, measured"),
        (("--settings", "none.json"), "cannot read the settings none.json"),
        (("--constraints", "none.yaml"), "cannot read the constraints none.yaml"),
        (("--realtime",), "--realtime needs ROS"),
        (("--namespace", "1/2"), "--namespace must be names"),
        (("--out", ""), "the run folder needs a name"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(push: Callable, options: tuple[str, ...], message: str) -> None:
    done = push("--controller", "cem", *options)
    assert done.code == 2 and message in done.err and len(done.err.splitlines()) == 1
    assert not done.folder.exists()


def test_a_model_of_no_task_or_another_is_refused(run: Callable, tmp_path: Path) -> None:
    other = saved(point(), tmp_path / "point.safetensors")
    done = run("push", "--no-ros", "--controller", "cem", "--model", str(other), "--out", str(tmp_path / "run"))
    assert done.code == 2 and "a model of point, not of pushing-disc" in done.err


def test_without_a_shipped_model_the_way_to_one_is_told(run: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    from control_stack.learning import shipped

    monkeypatch.setattr(shipped, "_FOLDER", "nowhere")
    done = run("push", "--no-ros", "--controller", "cem", "--task", "pushing-t")
    assert done.code == 2 and len(done.err.splitlines()) == 1
    assert "control-stack collect pushing-t" in done.err and "control-stack fit sparse" in done.err

"""control-stack collect: the same data however it was interrupted, a card that says what it is, and bad input."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from control_stack.cli import main
from control_stack.errors import TrainingAborted
from control_stack.learning.data import load
from control_stack.learning.spec import TaskSpec
from sim.tasks import collect as collecting

pytest.importorskip("pybullet")
ROOT = Path(__file__).resolve().parents[2]


def collect(out: Path, *arguments: str, task: str = "pushing-disc") -> int:
    return main(["collect", task, "--out", str(out), *arguments])


SMALL = ("--episodes", "45", "--steps", "4", "--seed", "3")


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("data") / "whole"
    assert collect(out, *SMALL) == 0
    return out


def contents(folder: Path) -> dict[str, str]:
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(folder.iterdir())}


def test_the_folder_holds_data_with_card_and_picture(uninterrupted: Path):
    assert set(contents(uninterrupted)) == {"collect.json", "data.json", "data.safetensors", "picture.png"}
    data = load(uninterrupted)
    assert isinstance(data.spec, TaskSpec) and data.spec.task == "pushing-disc"
    assert (data.episodes, data.steps) == (45, 180) and data.spec.dt == 0.1
    card = data.card
    assert card["seed"] == 3 and card["git_revision"] and card["versions"]["numpy"] == np.__version__
    assert 0.1 < card["contact_share"] < 0.9
    assert "pusher" in card["frames"] and "--seed 3" in card["command"]
    assert (uninterrupted / "picture.png").read_bytes().startswith(b"\x89PNG")


def test_pushing_is_the_disc(uninterrupted: Path, tmp_path: Path):
    assert collect(tmp_path / "data", *SMALL, task="pushing") == 0
    assert contents(tmp_path / "data") == contents(uninterrupted)


def test_the_share_of_contact_is_the_share_of_steps_in_which_something_was_pushed(uninterrupted: Path):
    """Contact is told by the simulator, motion by the data: nothing moves untouched, and most touches move."""
    data = load(uninterrupted)
    world = data.states[..., 2:4] + data.states[..., :2]
    moved = np.linalg.norm(np.diff(world, axis=1), axis=2) > 1e-6
    assert moved.mean() <= data.card["contact_share"] <= moved.mean() + 0.05


def killed(out: Path) -> bool:
    """Starts a collection and kills it once its first part lies there; whether it was killed before its end."""
    command = [sys.executable, "-m", "control_stack.cli", "collect", "pushing-disc", "--out", str(out), *SMALL]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    child = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        while not list(out.glob("parts/*.safetensors")) and child.poll() is None:
            time.sleep(0.002)
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()
    return not (out / "data.safetensors").exists()


def test_killed_and_started_again_it_gives_the_same_files(uninterrupted: Path, tmp_path: Path):
    """The rest is left to a second call with two processes."""
    out = next(out for out in (tmp_path / str(k) for k in range(5)) if killed(out))
    assert list(out.glob("parts/*.safetensors"))
    assert collect(out, *SMALL, "--workers", "2") == 0
    assert contents(out) == contents(uninterrupted)


def test_an_interrupted_collection_says_how_to_go_on(
    uninterrupted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    out, real, calls = tmp_path / "stopped", collecting.explore, []

    def interrupted(*arguments):
        calls.append(arguments)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(collecting, "explore", interrupted)
    assert collect(out, *SMALL) == 130
    assert "gone on with by the same command" in capsys.readouterr().err
    calls.append(())  # past the interruption
    assert collect(out, *SMALL) == 0
    assert [call[2] for call in calls if call] == [0, 20, 20, 40]  # the first part was not simulated again
    assert contents(out) == contents(uninterrupted)


def test_a_collection_whose_worker_was_killed_ends_with_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def killed_worker(*arguments):
        raise TrainingAborted("a process was killed")

    monkeypatch.setattr(collecting, "explore", killed_worker)
    assert collect(tmp_path / "out", *SMALL) == 1
    assert capsys.readouterr().err.splitlines()[-1] == "aborted: a process was killed"


def test_a_complete_collection_is_left_as_it_is(uninterrupted: Path, capsys: pytest.CaptureFixture[str]):
    before = contents(uninterrupted)
    assert collect(uninterrupted, *SMALL) == 0
    assert "complete already" in capsys.readouterr().out
    assert contents(uninterrupted) == before


@pytest.mark.parametrize("task", ["piecewise", "cartpole", "rope", "sorting"])
def test_other_tasks_are_collected_too(task: str, tmp_path: Path):
    assert collect(tmp_path / "data", "--episodes", "3", "--steps", "8", task=task) == 0
    data = load(tmp_path / "data")
    assert data.card["task"] == task and (data.card["contact_share"] is None) == (task == "piecewise")
    assert (tmp_path / "data" / "picture.png").is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--episodes", "0"), "--episodes must be from 1"),
        (("--steps", "-3"), "--steps must be from 1"),
        (("--workers", "0"), "--workers must be from 1"),
        (("--seed", "-1"), "--seed must be from 0"),
    ],
)
def test_bad_arguments_are_one_line(arguments, message, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert collect(tmp_path / "data", *arguments) == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert said.startswith("error: ") and message in said
    assert not (tmp_path / "data").exists()


def test_unknown_tasks_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as ended:
        collect(tmp_path / "data", task="juggling")
    assert ended.value.code == 2 and "juggling" in capsys.readouterr().err


def test_folders_of_something_else_are_left_alone(
    uninterrupted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    before = contents(uninterrupted)
    assert collect(uninterrupted, "--episodes", "45", "--steps", "4", "--seed", "4") == 2
    assert "was begun with seed 3, not 4" in capsys.readouterr().err
    assert contents(uninterrupted) == before
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "diary.txt").write_text("mine")
    assert collect(tmp_path / "notes", *SMALL) == 2
    assert "not empty" in capsys.readouterr().err
    assert collect(tmp_path / "notes" / "diary.txt", *SMALL) == 2
    (tmp_path / "notes" / "diary.txt").rename(tmp_path / "notes" / "collect.json")
    assert collect(tmp_path / "notes", *SMALL) == 2
    assert "damaged" in capsys.readouterr().err
    assert collect(Path(""), *SMALL) == 2


def test_data_of_another_version_is_not_mixed_in(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    out = tmp_path / "old"
    (out / "parts").mkdir(parents=True)
    begun = {"task": "pushing-disc", "episodes": 45, "seed": 3, "steps": 4, "git_revision": "0000000"}
    (out / "collect.json").write_text(json.dumps(begun))
    assert collect(out, *SMALL) == 2
    assert "was begun with git_revision 0000000" in capsys.readouterr().err


def test_two_collections_do_not_share_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    from control_stack.exclusive import lock

    held = lock(f"collect-{(tmp_path / 'shared').resolve()}")
    assert held is not None
    with held:
        assert collect(tmp_path / "shared", *SMALL) == 2
    assert "another control-stack collect" in capsys.readouterr().err

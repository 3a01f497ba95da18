"""The training of an expert: stopped in the middle it becomes the one that was not, and bad files are refused."""

from __future__ import annotations

import pytest
from safetensors.torch import load_file

from control_stack.errors import InvalidInput, TrainingAborted
from control_stack.learning.imitation import experts
from control_stack.learning.imitation.tasks import TASKS


class Stopped(Exception):
    pass


def test_a_stopped_expert_goes_on_to_the_same_weights(tmp_path, monkeypatch):
    for module in ("gymnasium", "mujoco", "imageio", "stable_baselines3"):
        pytest.importorskip(module)
    monkeypatch.setitem(experts.LESSONS, "pendulum", experts.Lesson(width=16, steps=1200, enough=1e9))
    monkeypatch.setattr(experts, "CHUNK", 400)
    monkeypatch.setattr(experts, "_JUDGE_EVERY", 200)
    task, seen = TASKS["pendulum"], []

    def train(name: str, stop: int) -> None:
        def report(steps: int, mean: float) -> None:
            seen.append((name, steps))
            if steps == stop:
                raise Stopped

        experts.train("pendulum", task, 3, report, tmp_path / name)

    with pytest.raises(TrainingAborted, match="below 1000000000: try another --seed"):
        train("whole.safetensors", 0)
    with pytest.raises(Stopped):
        train("stopped.safetensors", 1000)  # in the third chunk, which learns
    with pytest.raises(TrainingAborted):
        train("stopped.safetensors", 0)
    after = [steps for name, steps in seen if name.startswith("stopped")]
    assert after == [200, 400, 600, 800, 1000, 1000, 1200]
    whole, resumed = (load_file(tmp_path / f"{name}.safetensors") for name in ("whole", "stopped"))
    assert whole.keys() == resumed.keys() and whole["counts"].tolist()[0] == 1200
    for name, value in whole.items():
        assert name == "scores" or value.equal(resumed[name]), name
    assert whole["scores"][0] == resumed["scores"][0]
    (tmp_path / "stopped.safetensors").write_bytes(b"\x08" * 40)
    with pytest.raises(InvalidInput, match="damaged: remove it"):
        train("stopped.safetensors", 0)

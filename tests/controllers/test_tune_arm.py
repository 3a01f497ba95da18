"""scripts/tune_arm.py: equal trials, the best torque reference kept, and nothing of a file lost."""

from __future__ import annotations

import importlib.util
import json
import sys
from concurrent.futures import Future
from pathlib import Path

import pytest

pytest.importorskip("pybullet")

from benchmarks.arm_runs import RIVALS
from benchmarks.store import Store
from control_stack.arm.library import load_arm
from control_stack.errors import InvalidInput
from control_stack.exclusive import lock
from controllers.arm.factory import make_controller
from controllers.arm.nmpc import INPUT_REFERENCES

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "tune_arm.py"
TRIALS = 9


class AtOnce:
    """A pool without processes."""

    def __init__(self, *arguments):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *details):
        pass

    def submit(self, function, *arguments):
        future: Future = Future()
        future.set_result(function(*arguments))
        return future


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch):
    spec = importlib.util.spec_from_file_location("tune_arm", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules["tune_arm"] = module
    spec.loader.exec_module(module)
    tried = []

    def score(contender, settings, loads, duration):
        """Gravity is best by default, and slow filters and controllers win."""
        tried.append((contender.label, settings))
        worth = {"inverse": 2.0, "gravity": 1.0, "zero": 3.0}.get(settings.get("input_reference", ""), 0.0)
        return worth + settings.get("drift", 3.0) + settings.get("rate", 20.0)

    monkeypatch.setattr(module, "score", score)
    monkeypatch.setattr(module, "one_core_each", AtOnce)
    module.tried = tried
    yield module
    del sys.modules["tune_arm"]


def test_all_have_as_many_trials_and_the_best_is_written_beside_what_was_there(script, tmp_path: Path) -> None:
    out = tmp_path / "tuned.json"
    out.write_text(json.dumps({"nmpc mlp own": {"position": 0.01}}), encoding="utf-8")
    tunings = [script.Tuning(c, TRIALS) for c in RIVALS]
    script.tune(tunings, out, 1, 4.0, 1, Store(None, {}))
    for c in RIVALS:
        own = [settings for label, settings in script.tried if label == c.label]
        assert len(own) == TRIALS == len({json.dumps(s, sort_keys=True) for s in own})
        if c.controller == "nmpc":
            assert [s["input_reference"] for s in own] == [*INPUT_REFERENCES, *["gravity"] * (TRIALS - 3)]
    found = json.loads(out.read_text(encoding="utf-8"))
    assert found.pop("nmpc mlp own") == {"position": 0.01} and len(found) == len(RIVALS)
    least = min(s["drift"] for label, s in script.tried if label == "payload EKF" and "drift" in s)
    assert found["nmpc nominal payload"]["drift"] == least
    arm = load_arm("planar")
    for c in RIVALS[-2:]:  # what is drawn is what the controllers take
        make_controller(arm, c.controller, c.model, c.estimator, settings=script.draw(c, 5))


def test_a_tuning_that_was_stopped_goes_on_with_the_same_trials(script, tmp_path: Path) -> None:
    out, trials, whole = tmp_path / "tuned.json", tmp_path / "trials", tmp_path / "whole.json"
    script.tune([script.Tuning(RIVALS[2], TRIALS)], whole, 1, 4.0, 1, Store(None, {}))
    first = list(script.tried)
    script.tune([script.Tuning(RIVALS[2], 5)], out, 1, 4.0, 1, Store(trials, {}))
    script.tried.clear()
    script.tune([script.Tuning(RIVALS[2], TRIALS)], out, 1, 4.0, 1, Store(trials, {}))
    assert script.tried == first[5:] and out.read_text() == whole.read_text()


def test_no_two_commands_tune_into_one_file(script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "tuned.json"
    held = lock(f"tuning-{out.resolve()}")
    monkeypatch.setattr(sys, "argv", ["tune_arm.py", "--out", str(out)])
    with pytest.raises(InvalidInput, match="another command"):
        script.main()
    held.close()
    monkeypatch.setattr(sys, "argv", ["tune_arm.py", "--out", str(out), "--only", "nobody"])
    with pytest.raises(InvalidInput, match="nobody"):
        script.main()

"""A controller that fails is followed by the next of its chain, and the flight goes on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from control_stack.errors import FlightAborted, InputRejected, UnknownName
from control_stack.flight.controller_side import ControllerSide
from control_stack.flight.setpoints import Setpoints
from control_stack.protocols import ControllerSpec, ControlResult
from control_stack.quadrotor.parameters import load_vehicle
from control_stack.types import CommandLevel, QuadrotorState, RotorCommand

STATE = QuadrotorState(np.array([0.0, 0.0, 1.0]), np.zeros(3), np.array([0.0, 0.0, 0.0, 1.0]), np.zeros(3))
GOOD = RotorCommand(np.full(4, 1700.0))
NAN = replace(GOOD, rotor_speed=np.full(4, np.nan))


class Answers:
    """A controller that gives what a function of the number of the call gives."""

    def __init__(self, answer: Callable[[int], Any]):
        self.spec, self.last_result = ControllerSpec("answers", (CommandLevel.ROTORS,)), ControlResult()
        self._answer, self.calls, self.resets = answer, 0, 0

    def reset(self) -> None:
        self.resets += 1

    def __call__(self, t: float, state: QuadrotorState, reference: Any) -> Any:
        self.calls += 1
        return self._answer(self.calls)


def gone(call: int) -> Any:
    raise RuntimeError("gone")


def side(*answers: Callable[[int], Any], deadline: float = np.inf) -> ControllerSide:
    """Controllers a, b, c, of which all but the first are the fallback."""
    built = {name: Answers(answer) for name, answer in zip("abc", answers, strict=False)}
    setpoints = Setpoints(load_vehicle("crazyflie").limits)
    return ControllerSide(built, "a", setpoints, tuple(built)[1:], deadline)  # type: ignore[arg-type]


def names(one: ControllerSide) -> list[str]:
    return [event.name for event in one.drain_events()]


def test_one_that_raises_is_followed_in_the_same_call() -> None:
    one = side(gone, lambda k: GOOD)
    assert one.compute(0.0, STATE, True) is GOOD
    assert one.active == "b" and names(one) == ["controller_fallback"]
    assert one.controllers["b"].resets == 2  # at the beginning, and when it took over
    assert one.compute(0.01, STATE, True) is GOOD and one.controllers["a"].calls == 1


def test_the_chain_is_followed_to_its_end_and_then_it_is_over() -> None:
    one = side(gone, gone, gone)
    with pytest.raises(FlightAborted, match="'c' failed: RuntimeError: gone"):
        one.compute(0.0, STATE, True)
    assert names(one) == ["controller_fallback"] * 2


def test_single_bad_answers_are_dropped_and_three_in_a_row_are_the_end_of_it() -> None:
    one = side(lambda k: NAN if k % 3 else GOOD, lambda k: GOOD)
    for k in range(30):
        try:
            one.compute(0.01 * k, STATE, True)
        except InputRejected as error:
            assert error.reason == "nan"
    assert one.active == "a"
    one = side(lambda k: NAN, lambda k: GOOD)
    for _ in range(2):
        with pytest.raises(InputRejected):
            one.compute(0.0, STATE, True)
    assert one.compute(0.0, STATE, True) is GOOD and one.active == "b"


def test_without_a_fallback_nothing_is_different() -> None:
    one = side(lambda k: NAN)
    assert one.compute(0.0, STATE, True) is NAN  # the boundary beside the vehicle refuses it, as ever


def test_one_that_is_slower_than_its_period_is_followed() -> None:
    one = side(lambda k: GOOD, lambda k: GOOD, deadline=0.0)  # nobody computes in no time at all
    for _ in range(9):
        one.compute(0.0, STATE, True)
    assert one.active == "a"
    one.compute(0.0, STATE, True)
    assert one.active == "b"
    (event,) = one.drain_events()
    assert "'a' is slower than 0 ms: 'b' flies on" in event.message
    for _ in range(30):
        one.compute(0.0, STATE, True)
    assert one.active == "b"  # slow as well, but there is nobody else


def test_a_slow_controller_in_lockstep_is_waited_for() -> None:
    one = side(lambda k: GOOD, lambda k: GOOD)
    for _ in range(50):
        one.compute(0.0, STATE, True)
    assert one.active == "a"


def test_who_has_failed_may_be_asked_for_again() -> None:
    one = side(lambda k: gone(k) if k == 1 else GOOD, lambda k: GOOD)
    one.compute(0.0, STATE, True)
    assert one.active == "b"
    one.switch("a")
    for _ in range(one.controllers["a"].spec.warm_up + 1):
        one.compute(0.0, STATE, True)
    assert one.active == "a"


def test_an_unknown_fallback_is_refused_when_it_is_built() -> None:
    with pytest.raises(UnknownName, match="'x'"):
        ControllerSide({"a": Answers(gone)}, "a", Setpoints(load_vehicle("crazyflie").limits), ("x",))  # type: ignore[dict-item]


def test_fly_goes_on_with_the_fallback(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import json

    from control_stack.cli import main

    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(
        "from controllers.geometric import GeometricController\n"
        "class Mine(GeometricController):\n"
        "    def __call__(self, t, state, reference):\n"
        "        if t > 4.0:\n"
        "            raise RuntimeError('enough')\n"
        "        return super().__call__(t, state, reference)\n"
    )
    asked = ["fly", "--backend", "analytic", "--no-ros", "--trajectory", "hover:duration=3", "--out", "run"]
    assert main([*asked, "--controller", "mine.py:Mine", "--fallback", "geometric"]) == 0
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    told = [event["name"] for event in summary["events"]]
    assert told.count("controller_fallback") == 1 and "command_timeout" not in told and summary["landed_upright"]


def test_fly_stays_inside_its_fence(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import json

    from control_stack.cli import main

    monkeypatch.chdir(tmp_path)
    (tmp_path / "astray.py").write_text(
        "from dataclasses import replace\n"
        "from controllers.geometric import GeometricController\n"
        "class Astray(GeometricController):\n"
        "    def __call__(self, t, state, reference):\n"
        "        return super().__call__(t, state, replace(reference, position_w=reference.position_w + [0.4, 0, 0]))\n"
    )
    asked = ["fly", "--backend", "analytic", "--no-ros", "--trajectory", "hover:duration=5", "--out", "run"]
    assert main([*asked, "--controller", "astray.py:Astray", "--fence=-0.3,-1,0.3,1,2"]) == 1
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    told = [event["name"] for event in summary["events"]]
    assert told[-3:] == ["fence", "landing", "landed"] and summary["landed_upright"]


@pytest.mark.parametrize(
    ("fence", "told"),
    [
        ("--fence=-0.3,-1,0.3,1,2", "leaves the fence -0.3,-1,0.3,1,2"),  # the eight is 1 m long
        ("--fence=-2,-2,2,2,1.05", "--takeoff-height 1 is too high for the fence -2,-2,2,2,1.05"),  # it hovers at 1 m
        ("--fence=1,2", "a fence is"),
    ],
)
def test_what_would_end_at_the_fence_is_not_begun(
    fence: str, told: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from control_stack.cli import main

    monkeypatch.chdir(tmp_path)
    assert main(["fly", "--backend", "analytic", "--no-ros", "--out", "bad", fence]) == 2
    assert told in capsys.readouterr().err and not (tmp_path / "bad").exists()

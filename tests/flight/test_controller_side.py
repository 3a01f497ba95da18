"""Switching controllers in flight: warm-up in shadow, no gap, and what fails never takes over."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from control_stack.errors import FlightAborted, InputRejected, UnknownName
from control_stack.flight.controller_side import ControllerSide
from control_stack.flight.setpoints import Setpoints
from control_stack.protocols import ControllerSpec, ControlResult
from control_stack.quadrotor.parameters import load_vehicle
from control_stack.safety.events import Phase, Severity
from control_stack.trajectories import Hover, Lissajous
from control_stack.types import CommandLevel, QuadrotorState, RatesThrustCommand, RotorCommand

STATE = QuadrotorState(np.zeros(3), np.zeros(3), np.array([0.0, 0.0, 0.0, 1.0]), np.zeros(3))


class Constant:
    """Answers a constant (or raises it) and remembers being called and reset."""

    def __init__(self, answer: Any, warm_up: int = 10):
        self.answer, self.calls, self.resets = answer, 0, 0
        self.spec = ControllerSpec("constant", (CommandLevel.ROTORS,), warm_up=warm_up)
        self.last_result = ControlResult()

    def reset(self) -> None:
        self.resets += 1

    def __call__(self, t, state, reference):
        self.calls += 1
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer


def rotors(speed: float) -> RotorCommand:
    return RotorCommand(np.full(4, speed))


def side(**controllers: Constant) -> ControllerSide:
    return ControllerSide(dict(controllers), next(iter(controllers)), Setpoints(load_vehicle("crazyflie").limits))


def speeds(sides: ControllerSide, calls: int, t: float = 0.0) -> list[float]:
    return [float(sides.compute(t + 0.01 * k, STATE, True).rotor_speed[0]) for k in range(calls)]


def test_a_switch_happens_after_the_warm_up_without_a_gap() -> None:
    a, b = Constant(rotors(1.0)), Constant(rotors(2.0), warm_up=7)
    both = side(a=a, b=b)
    assert speeds(both, 5) == [1.0] * 5 and b.calls == 0
    both.switch("b")
    assert both.shadow == "b" and b.resets == 2
    assert speeds(both, 9) == [1.0] * 7 + [2.0] * 2
    assert both.active == "b" and both.shadow is None and a.calls == 12
    (event,) = both.drain_events()
    assert (event.name, event.severity, event.values) == (
        "controller_switched",
        Severity.OK,
        {"controller": "b"},
    )
    assert event.message == "controller 'b' takes over from 'a'" and both.drain_events() == []


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (rotors(np.nan), "not finite"),
        (RotorCommand(np.zeros(3)), "shape"),
        (None, "NoneType"),
        (ValueError("no solution"), "ValueError: no solution"),
        (SystemExit(2), "SystemExit: 2"),
        (RatesThrustCommand(np.zeros(3), 0.3), "level: ctbr, but controller 'b' declares rotors"),
    ],
    ids=["nan", "shape", "none", "exception", "exit", "level"],
)
def test_a_controller_that_fails_its_warm_up_never_takes_over(answer: Any, reason: str) -> None:
    a, b = Constant(rotors(1.0)), Constant(rotors(2.0))
    both = side(a=a, b=b)
    both.switch("b")
    assert speeds(both, 5) == [1.0] * 5
    b.answer = answer
    assert speeds(both, 30) == [1.0] * 30
    assert both.active == "a" and both.shadow is None and b.calls == 6
    (event,) = both.drain_events()
    assert (event.name, event.severity) == ("controller_refused", Severity.WARN)
    assert reason in event.message and "'b'" in event.message and "'a' flies on" in event.message


@pytest.mark.parametrize("error", [ZeroDivisionError("division by zero"), SystemExit(0)], ids=["exception", "exit"])
def test_whatever_the_active_controller_raises_aborts_by_name(error: BaseException) -> None:
    a = Constant(error)
    with pytest.raises(FlightAborted, match=f"controller 'a' failed: {type(error).__name__}"):
        side(a=a).compute(0.0, STATE, True)


def test_a_reset_that_fails_aborts_by_name() -> None:
    a = Constant(rotors(1.0))
    both = side(a=a)
    a.reset = lambda: exec("raise SystemExit(1)")  # type: ignore[method-assign]
    with pytest.raises(FlightAborted, match="controller 'a' failed: SystemExit: 1"):
        both.landed()


@pytest.mark.parametrize(
    ("answer", "reason"),
    [(RatesThrustCommand(np.zeros(3), 0.3), "level"), (None, "type"), (np.zeros(4), "type")],
    ids=["level", "none", "array"],
)
def test_what_the_active_controller_did_not_declare_is_refused_and_told_once(answer: Any, reason: str) -> None:
    a = Constant(answer)
    one = side(a=a)
    for _ in range(3):
        with pytest.raises(InputRejected) as caught:
            one.compute(0.0, STATE, True)
        assert caught.value.reason == reason
    (event,) = one.drain_events()
    assert (event.name, event.severity) == ("command_refused", Severity.WARN) and reason in event.message
    a.answer = rotors(1.0)
    assert speeds(one, 2) == [1.0, 1.0] and one.drain_events() == []
    a.answer = answer
    with pytest.raises(InputRejected):
        one.compute(0.0, STATE, True)
    assert [event.name for event in one.drain_events()] == ["command_refused"]


def test_a_controller_that_breaks_its_word_does_not_stop_the_one_that_is_to_follow() -> None:
    both = side(a=Constant(None), b=Constant(rotors(2.0), warm_up=2))
    both.switch("b")
    for _ in range(2):
        with pytest.raises(InputRejected):
            both.compute(0.0, STATE, True)
    assert speeds(both, 1) == [2.0]


def test_a_failed_controller_may_try_again() -> None:
    b = Constant(rotors(np.nan), warm_up=2)
    both = side(a=Constant(rotors(1.0)), b=b)
    both.switch("b")
    speeds(both, 3)
    b.answer = rotors(2.0)
    both.switch("b")
    assert speeds(both, 3) == [1.0, 1.0, 2.0]


def test_a_switch_during_a_warm_up_replaces_it() -> None:
    b, c = Constant(rotors(2.0)), Constant(rotors(3.0), warm_up=3)
    three = side(a=Constant(rotors(1.0)), b=b, c=c)
    three.switch("b")
    speeds(three, 5)
    three.switch("c")
    assert speeds(three, 5) == [1.0] * 3 + [3.0] * 2 and b.calls == 5


def test_asking_again_does_not_start_the_warm_up_over_and_the_active_ones_name_ends_it() -> None:
    b = Constant(rotors(2.0), warm_up=10)
    both = side(a=Constant(rotors(1.0)), b=b)
    for _ in range(9):
        both.switch("b")
        assert speeds(both, 1) == [1.0]
    both.switch("a")
    assert speeds(both, 20) == [1.0] * 20 and both.shadow is None and b.calls == 9


def test_unknown_controllers_are_refused_by_name() -> None:
    both = side(a=Constant(rotors(1.0)), b=Constant(rotors(2.0)))
    with pytest.raises(UnknownName, match="unknown controller 'c'; expected one of: a, b"):
        both.switch("c")
    with pytest.raises(UnknownName, match="unknown controller 'x'"):
        ControllerSide({"a": Constant(rotors(1.0))}, "x", Setpoints(load_vehicle("crazyflie").limits))


def test_landed_resets_every_controller() -> None:
    a, b = Constant(rotors(1.0)), Constant(rotors(2.0))
    both = side(a=a, b=b)
    both.landed()
    assert a.resets == b.resets == 2


def test_hot_swap_in_flight_keeps_tracking(rig: Callable) -> None:
    """Geometric to LQR and back in a hover: neither switch is felt (measured: 2 micrometres)."""
    flight = rig(controllers=("geometric", "lqr"))
    flight.controllers.setpoints.follow(Hover((0.3, 0.0, 1.1)))
    flight.take_off()
    flight.fly(4.0)
    for name in ("lqr", "geometric"):
        flight.controllers.switch(name)
        asked = flight.t
        flight.fly(2.0)
        assert flight.controllers.active == name
        switched = [e.t for e in flight.memory.events if e.name == "controller_switched"][-1]
        assert switched - asked == pytest.approx(0.09, abs=1e-6)  # ten calls
        assert flight.tracking_errors((asked - min(flight.memory.references), np.inf)).max() < 1e-4
    assert all(sent is not None for sent in flight.memory.sent[300:])
    assert "command_timeout" not in flight.memory.names
    flight.land()
    flight.assert_landed(np.array([0.3, 0.0, 0.0]))


def test_hot_swap_on_the_move(rig: Callable) -> None:
    """LQR feeds no acceleration forward, so it lags on the eight; the switch itself is smooth."""
    flight = rig(controllers=("geometric", "lqr"))
    trajectory = Lissajous((0.0, 0.0, 1.0145), laps=2, ramp=2.0, lap=8.0)
    flight.controllers.setpoints.follow(trajectory)
    flight.take_off()
    flight.fly(5.0)
    flight.controllers.switch("lqr")
    flight.fly(5.0)
    flight.controllers.switch("geometric")
    flight.fly(3.0)
    assert flight.phase is Phase.FLYING and flight.controllers.active == "geometric"
    errors = flight.tracking_errors((0.0, np.inf))
    assert errors.max() < 0.2  # measured 0.11 m, under LQR
    assert errors[-50:].max() < 0.01
    tilt = [s.quat_xyzw[0] ** 2 + s.quat_xyzw[1] ** 2 for s in flight.memory.truth]
    assert max(tilt) < np.sin(np.radians(30.0) / 2.0) ** 2


def test_a_bad_shadow_in_flight_is_told_and_the_flight_goes_on(rig: Callable) -> None:
    flight = rig(extra={"bad": Constant(rotors(np.nan))})
    flight.controllers.setpoints.follow(Hover((0.0, 0.0, 1.0145)))
    flight.take_off()
    flight.fly(0.5)
    flight.controllers.switch("bad")
    flight.fly(1.0)
    assert flight.controllers.active == "geometric" and flight.phase is Phase.FLYING
    assert "controller_refused" in flight.memory.names and not flight.side.rejections.counts

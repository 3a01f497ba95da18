"""docs/failsafe.md over the emulated links: each fault, between the real drivers and the emulated vehicles.

S1: flies on. S2: a controlled landing. S3: motors off, and the log says where it was. Faults are scheduled and scored
in the emulator's time, against its ground truth; what is asserted is the end and the order of events.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("cflib")
pytest.importorskip("pymavlink")

from emulated_crazyflie import served
from faulty_rigs import RIGS
from link_faults import Flight

from control_stack.cli import main
from control_stack.safety.events import Phase
from control_stack.safety.fence import Fence
from control_stack.safety.supervisor import SafetyConfig
from control_stack.types import AttitudeThrustCommand, CommandLevel
from sim.emulators.faulty_link import Faults, FaultyLink

Make = Callable[..., Flight]


def slow(value: Any) -> Any:
    """A variant of what a quick test shows."""
    return pytest.param(value, marks=pytest.mark.slow)


@pytest.fixture(params=["crazyflie", "px4"])
def which(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def make(which: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Make]:
    """Builds connected rigs, closed at the end."""
    with ExitStack() as stack:
        cache: Path = tmp_path_factory.getbasetemp() / "toc"
        yield lambda **options: stack.enter_context(RIGS[which](cache, **options))


def under_way(rig: Flight, faults: Faults | None = None) -> float:
    """In the air and half a second into a step of 0.8 m; the fault begins now. Returns the emulator's time."""
    rig.take_off()
    rig.controllers.setpoints.go_to(rig.truth().position_w + np.array([0.8, 0.0, 0.3]), 0.0)
    rig.tick(0.5)
    rig.link.faults = faults or Faults()
    return rig.emulator_time()


def hovering(rig: Flight, faults: Faults | None = None) -> float:
    rig.take_off()
    rig.tick(0.5)
    rig.link.faults = faults or Faults()
    return rig.emulator_time()


def for_a_while(rig: Flight, seconds: float) -> None:
    """The present fault ends by itself."""
    rig.after(seconds, lambda: setattr(rig.link, "faults", Faults()))


def then_lands(rig: Flight, began: float) -> None:
    assert rig.side.supervisor.land(rig.t, rig.side.state).accepted
    rig.end()
    rig.landed_softly(began)


# The link.


@pytest.mark.parametrize("loss", [slow(0.05), slow(0.2), 0.5])
def test_lost_packets_are_flown_through(make: Make, loss: float) -> None:
    rig = make()
    began = under_way(rig, Faults(loss=loss))
    rig.tick(4.0)
    goal = rig.controllers.last_reference
    rig.continues()
    assert goal is not None and np.linalg.norm(rig.truth().position_w - goal.position_w) < 0.05
    assert rig.link.to_vehicle["lost"] > 0.5 * loss * 400 and rig.link.to_client["lost"] > 0.5 * loss * 400
    then_lands(rig, began)


@pytest.mark.slow
def test_reordered_packets_are_flown_through(make: Make) -> None:
    rig = make()
    began = under_way(rig, Faults(reorder=0.3))
    rig.tick(4.0)
    rig.continues()
    assert rig.controllers.last_reference is not None
    assert np.linalg.norm(rig.truth().position_w - rig.controllers.last_reference.position_w) < 0.05
    then_lands(rig, began)


@pytest.mark.slow
def test_a_little_latency_is_flown_through(make: Make) -> None:
    rig = make()
    began = under_way(rig, Faults(latency=0.01, jitter=0.005))
    rig.tick(4.0)
    rig.continues()
    then_lands(rig, began)


@pytest.mark.parametrize("latency", [slow(0.05), 0.1])
@pytest.mark.parametrize("level", [CommandLevel.CTBR, slow(CommandLevel.ATTITUDE)])
def test_too_much_latency_is_held_and_landed_by_the_vehicles_own_loops(
    make: Make, latency: float, level: CommandLevel
) -> None:
    """At 50 ms a Crazyflie at CTBR would tumble within seconds."""
    rig = make(level=level)
    began = under_way(rig, Faults(latency=latency, jitter=0.4 * latency))
    rig.end()
    assert rig.names[3:] == ["state_late", "landing", "landed"]
    rig.landed_softly(began)


@pytest.mark.slow
def test_latency_for_a_moment_is_held_and_flown_on(make: Make) -> None:
    rig = make()
    began = under_way(rig, Faults(latency=0.1))
    for_a_while(rig, 0.3)
    rig.tick(3.0)
    assert rig.side.phase is Phase.FLYING and rig.names[3:] == ["state_late", "command_recovered"]
    then_lands(rig, began)


@pytest.mark.slow
def test_a_cut_of_a_tenth_of_a_second_changes_nothing(make: Make) -> None:
    rig = make()
    began = under_way(rig, Faults(cut=True))
    for_a_while(rig, 0.1)
    rig.tick(3.0)
    rig.continues()
    then_lands(rig, began)


def test_a_cut_of_half_a_second_is_landed(make: Make) -> None:
    rig = make()
    began = under_way(rig, Faults(cut=True))
    for_a_while(rig, 0.5)
    rig.end()
    assert rig.names[-3:] == ["state_timeout", "landing", "landed"]
    rig.landed_softly(began)


@pytest.mark.parametrize("which", ["crazyflie"], indirect=True)
def test_a_crazyflie_cut_off_for_two_seconds_falls(make: Make) -> None:
    rig = make()
    began = hovering(rig, Faults(cut=True))
    for_a_while(rig, 2.0)
    rig.end()
    assert rig.names[-1] == "control_lost"
    rig.off("control_lost")
    assert rig.height_when_cut(began) > 0.5  # nobody can help it: it is the firmware that has stopped the motors


@pytest.mark.parametrize("which", ["crazyflie"], indirect=True)
def test_a_crazyflie_that_lands_on_board_does_not_need_the_link(make: Make) -> None:
    rig: Any = make()
    began = hovering(rig)
    rig.vehicle.land(0.0, 2.5)
    rig.vehicle.wait_for_state(0.01)
    rig.link.faults = Faults(cut=True)
    while rig.emulator_time() < began + 8.0:
        rig.vehicle.wait_for_state(0.01)
    rig.landed_softly(began)


@pytest.mark.parametrize("which", ["px4"], indirect=True)
@pytest.mark.parametrize(("start", "loss_time"), [(hovering, 1.0), (under_way, 0.3)])
def test_px4_cut_off_for_two_seconds_lands_by_itself(make: Make, start: Callable, loss_time: float) -> None:
    """Until COM_OF_LOSS_T it flies the last body rates on: in motion its default of 1 s is too long."""
    rig: Any = make()
    rig.emulator.autopilot.parameters.set("COM_OF_LOSS_T", loss_time)
    began = start(rig, Faults(cut=True))
    for_a_while(rig, 2.0)
    rig.end()
    assert rig.modes[2:] == ["offboard_loss", "AUTO.RTL", "AUTO.LAND", "disarmed"]
    assert rig.names[-1] == "control_lost"  # the host sees it, and keeps its hands off
    rig.landed_softly(began)


# The controller.


def killed(t: float, state: Any, command: Any) -> Any:
    raise RuntimeError("gone")


def nan(t: float, state: Any, command: Any) -> Any:
    return replace(command, thrust=float("nan"))


class Switch:
    """A controller's change that is harmless until it is switched on."""

    def __init__(self, fault: Callable[..., Any]):
        self.on, self._fault = False, fault

    def __call__(self, t: float, state: Any, command: Any) -> Any:
        return self._fault(t, state, command) if self.on else command


@pytest.mark.parametrize(("fault", "first"), [(killed, "controller_failed"), (nan, "command_timeout")])
def test_a_controller_that_is_gone_is_held_and_landed(make: Make, fault: Callable, first: str) -> None:
    switch = Switch(fault)
    rig = make(change=switch)
    began = under_way(rig)
    switch.on = True
    rig.end()
    assert rig.names[3] == first and rig.names[-3:] == ["command_timeout", "landing", "landed"]
    rig.landed_softly(began)


@pytest.mark.parametrize("fault", [slow(killed), nan])
def test_a_fallback_flies_on(make: Make, fault: Callable) -> None:
    switch = Switch(fault)
    rig = make(change=switch, fallback=("geometric",))
    began = under_way(rig)
    switch.on = True
    rig.tick(3.0)
    assert rig.side.phase is Phase.FLYING and rig.names[-1] == "controller_fallback"
    assert "command_timeout" not in rig.names and rig.controllers.active == "geometric"
    assert rig.controllers.last_reference is not None
    assert np.linalg.norm(rig.truth().position_w - rig.controllers.last_reference.position_w) < 0.02
    then_lands(rig, began)


# The state.


@pytest.mark.parametrize("how", [slow("silence"), "freeze"])
def test_a_state_that_stands_still_is_a_blind_descent(make: Make, how: str) -> None:
    """Not told any more, or told again and again as if it were new: at 0.4 m/s nothing stays where it is."""
    rig = make()
    began = under_way(rig)
    getattr(rig, how)()
    rig.end()
    # Of a vehicle that has told nothing for so long the driver says first that it is lost.
    assert rig.names[4:] == ["state_timeout", "control_lost" if how == "silence" else "cut"]
    rig.off(rig.names[-1])
    speed, tilt = rig.touchdown(began)
    assert rig.height_when_cut(began) < 0.05 and speed < 1.6 and tilt < 0.2  # from 1 m: sqrt(2 x 7 % of g x 1.2 m)


# What is watched.


def test_a_low_battery_is_told_and_a_critical_one_landed(make: Make) -> None:
    rig = make()
    began = hovering(rig)
    limits = rig.parameters.battery
    assert limits is not None
    rig.sag(limits.low - 0.01)
    rig.tick(3.0)
    assert rig.side.phase is Phase.FLYING and rig.names[3:] == ["battery_low"]
    rig.sag(limits.critical - 0.01)
    rig.end()
    assert rig.names[3:] == ["battery_low", "battery_critical", "landed"]
    rig.landed_softly(began)


@pytest.mark.slow
def test_a_low_battery_is_not_taken_off_with(make: Make) -> None:
    rig = make()
    assert rig.parameters.battery is not None
    rig.sag(rig.parameters.battery.low - 0.02)
    rig.tick(2.0)
    reply = rig.side.supervisor.arm(rig.t, rig.side.state)
    assert not reply.accepted and "battery is low" in reply.message
    assert not rig.armed()


def test_the_fence_stops_it_and_keeps_it_inside(make: Make) -> None:
    rig = make(safety=SafetyConfig(fence=Fence((-1.0, 1.5), (-1.0, 1.0), 2.0)))
    rig.take_off()
    began = rig.emulator_time()
    rig.controllers.setpoints.go_to(np.array([6.0, 0.0, 1.0]), 0.0)
    rig.tick(6.0)
    assert rig.side.phase is Phase.HOLD and rig.names[3:] == ["fence"]
    furthest = max(float(state.position_w[0]) for _, state, _ in rig.since(began))
    assert 1.0 < furthest < 1.5
    assert np.linalg.norm(rig.truth().velocity_w) < 0.01
    then_lands(rig, began)


@pytest.mark.slow
def test_what_is_blown_out_of_the_fence_is_landed(make: Make) -> None:
    rig = make(safety=SafetyConfig(takeoff_height=2.0, fence=Fence((-0.3, 0.3), (-0.3, 0.3), 3.0)))
    began = hovering(rig)
    weight = 9.81 * float(rig.parameters.mass)
    rig.quad.set_disturbance(np.array([0.0, 0.8 * weight, 0.0]), np.zeros(3))
    rig.after(0.6, lambda: rig.quad.set_disturbance(np.zeros(3), np.zeros(3)))
    rig.end()
    assert "fence_left" in rig.names and rig.names[-1] == "landed"
    rig.landed_softly(began)


@pytest.mark.slow
def test_a_controller_that_lays_it_on_the_side_loses_it(make: Make) -> None:
    """It leans further and further, up to 83 degrees: taken from the controller, levelled, landed."""
    leaning: list[float] = []

    def lean(t: float, state: Any, command: Any) -> Any:
        leaning.append(t)
        half = 0.5 * min(t - leaning[0], 1.45)
        return AttitudeThrustCommand(np.array([np.sin(half), 0.0, 0.0, np.cos(half)]), command.thrust, stamp=t)

    switch = Switch(lean)
    safety = SafetyConfig(takeoff_height=12.0, climb_speed=3.0, land_speed=0.7)
    rig = make(change=switch, level=CommandLevel.ATTITUDE, safety=safety)
    began = hovering(rig)
    switch.on = True
    rig.end()
    assert rig.names[3:] == ["attitude_lost", "attitude_recovered", "landed"]
    rig.landed_softly(began)


@pytest.mark.slow
def test_a_vehicle_that_tumbles_is_cut(make: Make) -> None:
    """A rotor is gone: no controller that wants to hold the heading brings it upright."""
    rig = make()
    hovering(rig)
    rig.quad.set_rotor_loss(0, 1.0)
    rig.end()
    assert rig.names[3] in ("attitude_lost", "tipped_over", "control_lost")
    assert not rig.armed() and rig.on_ground()


# What is asked for.


def test_an_emergency_during_take_off_stops_the_motors(make: Make) -> None:
    rig = make()
    rig.start()
    while rig.truth().position_w[2] < 0.5:
        rig.tick(0.05)
    assert rig.side.phase is Phase.TAKEOFF
    began = rig.emulator_time()
    assert rig.side.supervisor.emergency(rig.t).accepted
    rig.end()
    rig.off("emergency")
    assert rig.height_when_cut(began) > 0.2
    assert not rig.side.supervisor.takeoff(rig.t, rig.side.state).accepted


@pytest.mark.parametrize("which", ["crazyflie"], indirect=True)
def test_tables_are_loaded_through_a_link_that_loses_packets(
    which: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))  # none are cached
    with served() as one:
        link = FaultyLink(vehicle=one.server.ports[0])
        link.faults = Faults(loss=0.05)
        link.start()
        try:
            assert main(["fly", "--backend", "crazyflie", "--uri", f"udp://127.0.0.1:{link.port}", "--no-ros"]) == 0
        finally:
            link.close()
        assert "ok   link: " in capsys.readouterr().out and not one.firmware.supervisor.armed
        assert link.to_vehicle["lost"] > 0 and link.to_client["lost"] > 0

"""The report says what was flown, and nothing that contradicts it: figures or why there is none, landings."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from control_stack.artefacts.record import FlightRecord
from control_stack.cli.flight import FlyConfig, Outcome
from control_stack.cli.report import _ending, summarize
from control_stack.safety.events import Event, Phase, Severity
from control_stack.trajectories import Hover

DT = 0.01
BEGUN, DURATION, END = 2.0, 5.0, 9.0  # s: the controller takes over; of the trajectory; of the log
CONFIG = FlyConfig(
    vehicle="crazyflie",
    backend="analytic",
    controller="geometric",
    controllers=("geometric",),
    levels=("ctbr",),
    trajectory="hover:duration=5",
    wind="none",
    sensors="none",
    seed=0,
    ros=False,
    namespace="",
    real_time_factor=None,
    compute_delay="none",
    takeoff_height=1.0,
    control_rate=100.0,
    physics_rate=1000.0,
)


def told(t: float, phase: Phase | None, name: str = "", severity: Severity = Severity.OK) -> Event:
    return Event(
        t,
        severity,
        name or (phase.value if phase else "x"),
        f"{name} happened",
        {"phase": phase.value} if phase else {},
    )


FLOWN = [told(0.5, Phase.ARMED), told(0.6, Phase.TAKEOFF), told(BEGUN, Phase.FLYING), told(7.2, Phase.LANDING)]


def summary(
    end: float = END,
    reference_end: float = 7.1,
    gap: tuple[float, float] = (0.0, 0.0),
    events: list[Event] | None = None,
) -> dict[str, Any]:
    """Of a flight 1 m up, 1 cm off, that is back on the ground at 8.5 s; without references in the gap."""
    t = np.arange(0.0, end, DT)
    height = np.interp(t, [0.6, 1.8, 7.2, 8.5], [0.0, 1.0, 1.0, 0.0])
    place = np.stack([np.zeros_like(t), np.zeros_like(t), height], axis=1)
    at = t[(t >= BEGUN) & (t < reference_end) & ~((t >= gap[0]) & (t < gap[1]))]
    record = FlightRecord(
        t=t,
        position_w=place,
        velocity_w=np.zeros_like(place),
        quat_xyzw=np.tile([0.0, 0.0, 0.0, 1.0], (len(t), 1)),
        reference_t=at,
        reference_position=np.tile([0.01, 0.0, 1.0], (len(at), 1)),
        events=FLOWN if events is None else events,
    )
    return summarize(record, CONFIG, Hover((0.0, 0.0, 1.0), duration=DURATION), Outcome())


LANDED = [*FLOWN, told(8.6, Phase.DISARMED, "landed")]


def test_a_flight_as_planned() -> None:
    done = summary(events=LANDED)
    assert done["position_rmse_m"] == pytest.approx(0.01) and done["no_rmse_because"] is None
    assert done["completed"] and done["landed_upright"] and not done["motors_cut"]
    assert _ending(done, set()) == (0, "")


def test_there_is_no_figure_of_a_part_that_was_not_flown_to_its_end() -> None:
    """Control is lost 3 s into the trajectory: nothing is recorded after that."""
    done = summary(end=5.0, reference_end=5.0)
    assert math.isnan(done["position_rmse_m"]) and math.isnan(done["position_max_error_m"])
    assert done["no_rmse_because"] == "the whole trajectory not flown to the end"
    assert not done["completed"] and not done["landed_upright"]


def test_an_interruption_is_given_as_the_reason_of_a_completed_flight() -> None:
    hold = told(4.0, Phase.HOLD, "command_timeout", Severity.WARN)
    back = told(4.3, Phase.FLYING, "command_recovered")
    done = summary(gap=(4.0, 4.3), events=[*FLOWN[:3], hold, back, *FLOWN[3:], told(8.6, Phase.DISARMED, "landed")])
    assert done["completed"] and math.isnan(done["position_rmse_m"])
    why = done["no_rmse_because"]
    assert why.startswith("the whole trajectory interrupted for 0.3") and "command_timeout happened" in why
    assert "not flown to the end" not in why and _ending(done, set()) == (0, "")


def test_one_that_never_flew_has_not_landed() -> None:
    done = summary(end=0.5, events=[told(0.4, Phase.ARMED), told(0.45, Phase.DISARMED)])
    assert not done["took_off"] and not done["landed_upright"]


@pytest.mark.parametrize("name", ["cut", "emergency"])
def test_motors_cut_on_the_way_down_are_no_landing(name: str) -> None:
    """It stands on the ground in the end, as after a blind descent; but nobody saw it land."""
    done = summary(events=[*FLOWN, told(8.7, Phase.EMERGENCY, name, Severity.ERROR)])
    assert done["motors_cut"] and not done["landed_upright"]
    code, line = _ending(done, {name})
    assert code == 1 and "motors were cut" in line


def test_an_emergency_after_the_landing_changes_nothing_about_it() -> None:
    done = summary(events=[*LANDED, told(8.8, Phase.EMERGENCY, "emergency", Severity.ERROR)])
    assert done["landed_upright"] and not done["motors_cut"]

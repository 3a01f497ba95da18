"""The same mission on every vehicle and level, in process on the analytic simulator."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from control_stack.flight.advance import ComputeDelay
from control_stack.safety.supervisor import SafetyConfig
from control_stack.trajectories import Lissajous
from control_stack.types import CommandLevel

# Position RMSE of the figure-eight of the benchmarks (1.0 x 0.5 m, 5.5 s lap), measured, m; the bound is
# twice that.
MEASURED = {
    ("crazyflie", "rotors"): 0.0017,
    ("crazyflie", "ctbr"): 0.0017,
    ("crazyflie", "attitude"): 0.0027,
    ("racer", "rotors"): 0.0023,
    ("racer", "ctbr"): 0.0021,
    ("racer", "attitude"): 0.0029,
    ("x500", "rotors"): 0.0038,
    ("x500", "ctbr"): 0.0045,
    ("x500", "attitude"): 0.0051,
}


def eight(parameters) -> Lissajous:
    return Lissajous((0.0, 0.0, 1.0 + 0.5 * float(parameters.body_size[2])), laps=1, ramp=2.0)


def rmse(errors: np.ndarray) -> float:
    return float(np.sqrt(np.mean(errors**2)))


@pytest.mark.parametrize(("vehicle", "level"), MEASURED)
def test_the_eight_is_tracked_and_ends_upright(rig: Callable, vehicle: str, level: str) -> None:
    flight = rig(vehicle=vehicle, level=CommandLevel(level))
    trajectory = eight(flight.parameters)
    flight.mission(trajectory)
    errors = flight.tracking_errors(trajectory.steady_interval)
    assert len(errors) == 550
    assert rmse(errors) < 2.0 * MEASURED[vehicle, level]
    flight.assert_landed(np.zeros(3), within=0.02)
    assert flight.memory.names == ["armed", "takeoff", "takeoff_done", "landing", "landed"]
    assert not flight.side.rejections.counts


@pytest.mark.parametrize("vehicle", ["crazyflie", "racer", "x500"])
@pytest.mark.parametrize("height", [0.5, 1.0, 3.0])
def test_take_off_reaches_its_height_without_overshoot(rig: Callable, vehicle: str, height: float) -> None:
    """Measured: 6 mm above at most (x500 to 0.5 m), 13 mm short at hand-over at most (racer to 0.5 m)."""
    flight = rig(vehicle=vehicle, safety=SafetyConfig(takeoff_height=height))
    ground = flight.truth.position_w[2]
    flight.take_off()
    top = flight.truth.position_w[2] - ground
    assert abs(top - height) < 0.02
    flight.fly(2.0)
    heights = flight.memory.positions()[:, 2] - ground
    assert heights.max() < height + 0.01
    assert np.max(np.abs(flight.memory.positions()[:, :2])) < 0.005


def test_a_delay_of_one_period_is_the_command_of_the_period_before(rig: Callable) -> None:
    """Exact: with compute_delay fixed at one period, the flight is that of commands kept back by one
    period."""

    class Late:
        """Keeps the supervisor's decisions back by one call."""

        def __init__(self, vehicle):
            self._vehicle, self._kept = vehicle, None

        def __getattr__(self, name):
            return getattr(self._vehicle, name)

        def send(self, command):
            kept, self._kept = self._kept, command
            return self._vehicle.send(kept) if kept is not None else command

    trajectory = Lissajous((0.0, 0.0, 1.0145), laps=1, ramp=1.0, lap=3.0)
    delayed = rig(delay=ComputeDelay("fixed", 0.01))
    delayed.mission(trajectory)
    shifted = rig()
    shifted.side.vehicle = Late(shifted.vehicle)
    shifted.mission(trajectory)
    prompt = rig()
    prompt.mission(trajectory)
    # The disarming at the end is not kept back by ``Late``: one period less.
    n = shifted.memory.phases.index(shifted.phase, 300)
    a, b, c = (flight.memory.positions()[:n] for flight in (delayed, shifted, prompt))
    assert np.array_equal(a, b)
    assert np.max(np.abs(a - c)) > 1e-4  # and the delay does matter


def test_a_delay_of_half_a_period_lies_between(rig: Callable) -> None:
    """Tracking gets worse with the delay, and does not fall over."""
    trajectory = Lissajous((0.0, 0.0, 1.0145), laps=1, ramp=2.0)
    figures = []
    for delay in (0.0, 0.005, 0.01):
        flight = rig(delay=ComputeDelay("fixed", delay))
        flight.mission(trajectory)
        flight.assert_landed()
        figures.append(rmse(flight.tracking_errors(trajectory.steady_interval)))
    assert figures[0] < figures[1] < figures[2] < 0.02


def test_measured_delay_flies(rig: Callable) -> None:
    flight = rig(delay=ComputeDelay("measured"))
    flight.mission(Lissajous((0.0, 0.0, 1.0145), laps=1, ramp=1.0, lap=3.0))
    flight.assert_landed()

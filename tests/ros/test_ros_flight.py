"""Whole flights over a ROS graph of two processes."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import numpy as np
import pytest
from ros_stack import Stack, quiet

from control_stack.artefacts.metrics import interpolated_at, landing, tracking_metrics
from control_stack.artefacts.record import FlightRecord
from control_stack.safety.events import Phase
from control_stack.trajectories import Hover, Lissajous, with_approach
from control_stack.types import QuadrotorState, Reference


def eight(state: QuadrotorState) -> Lissajous:
    return Lissajous(state.position_w + np.array([0.0, 0.0, 1.0]), laps=1)


def rmse(record: FlightRecord) -> float:
    wanted = interpolated_at(record.t, record.reference_t, record.reference_position, max_gap=0.1)
    began = record.reference_t[0]
    return tracking_metrics(record.t, record.position_w, wanted, (began + 3.0, began + 8.5))["position_rmse_m"]


@pytest.mark.parametrize("backend", ["analytic", "bullet"])
def test_eight_over_ros(stack: Stack, backend: str) -> None:
    if backend == "bullet":
        pytest.importorskip("pybullet")
    stack.start(sim={"backend": backend})
    stack.client.fly(eight, quiet)
    record = stack.record()
    assert rmse(record) < 0.02
    assert landing(record.t, record.position_w, record.velocity_w, record.quat_xyzw).upright
    assert [e.name for e in record.events] == ["armed", "takeoff", "takeoff_done", "landing", "landed"]
    # Lockstep: one state per period, none lost, whatever this machine was doing meanwhile.
    assert np.allclose(np.diff(record.t), 0.01)
    assert np.allclose(np.diff(record.reference_t), 0.01)


def test_lockstep_flights_do_not_depend_on_the_wall_clock(stack: Stack, tmp_path: Path) -> None:
    stack.start()
    stack.client.fly(eight, quiet)
    first = rmse(stack.record())
    stack.log = tmp_path / "second.mcap"
    # A machine under load: the second controller is stopped and continued all the time.
    stack.start()
    nagging = subprocess.Popen(
        [
            "sh",
            "-c",
            f"while kill -STOP {stack.nodes.pid('controller')}; do sleep 0.05; "
            f"kill -CONT {stack.nodes.pid('controller')}; sleep 0.05; done",
        ],
        stderr=subprocess.DEVNULL,
    )
    try:
        stack.client.fly(eight, quiet)
    finally:
        nagging.terminate()
        nagging.wait()
        subprocess.run(["kill", "-CONT", str(stack.nodes.pid("controller"))], check=False)
    # Not bit for bit: when the user armed decides how far the vehicle had settled on the ground.
    assert rmse(stack.record()) == pytest.approx(first, rel=1e-4)


def test_killed_controller_ends_in_a_landing(stack: Stack) -> None:
    stack.start(sim={"real_time_factor": 8.0})  # of the time that runs on without a controller
    stack.take_off()
    stack.spin_for(0.5)
    stack.nodes.kill("controller", signal.SIGKILL)
    stack.until(lambda: stack.client.phase is Phase.DISARMED, "landing without a controller")
    record = stack.record()
    names = [e.name for e in record.events]
    assert names[-3:] == ["command_timeout", "landing", "landed"]
    assert "no controller" in record.events[-2].message
    # From the last command that was flown to the supervisor's first: at most 100 ms of simulated time.
    last = max(
        t[t > record.events[2].t].max(initial=0.0) for lv, (t, _) in record.commands.items() if lv.value == "rotors"
    )
    assert 0.0 < record.events[-3].t - last <= 0.1
    end = landing(record.t, record.position_w, record.velocity_w, record.quat_xyzw)
    assert end.upright and end.touchdown_speed < 0.6


def test_sim_node_ended_in_flight_leaves_a_readable_log(stack: Stack) -> None:
    stack.start()
    stack.take_off()
    stack.spin_for(0.3)
    flown = stack.client.t
    record = stack.record()  # SIGTERM
    assert not record.truncated
    assert record.t[-1] >= flown - 0.011


def test_csv_like_trajectory_far_away_is_approached_smoothly(stack: Stack) -> None:
    def far(state: QuadrotorState) -> object:
        goal = Lissajous(np.array([2.0, 1.0, 1.5]), laps=1)
        return with_approach(goal, Reference(state.position_w + np.array([0.0, 0.0, 1.0])), 1.5, 3.0)

    stack.start()
    stack.client.fly(far, quiet)  # type: ignore[arg-type]
    record = stack.record()
    steps = np.linalg.norm(np.diff(record.reference_position, axis=0), axis=1)
    assert steps.max() < 3.0 * 0.01  # the vehicle's own speed limit
    wanted = interpolated_at(record.t, record.reference_t, record.reference_position, max_gap=0.1)
    assert (
        tracking_metrics(record.t, record.position_w, wanted, (record.reference_t[0] + 1.0, record.reference_t[-1]))[
            "position_max_error_m"
        ]
        < 0.06
    )


def test_real_time_mode_flies_and_lands(stack: Stack) -> None:
    # At attitude level the inner loops run in the simulator, so a busy machine's jitter does not matter.
    stack.start(
        sim={"lockstep": False, "command_timeout": 0.5},
        controller={"lockstep": False, "levels": ["attitude"]},
    )
    stack.client.fly(lambda state: Hover(state.position_w + np.array([0.2, 0.0, 1.0]), duration=2.0), quiet)
    record = stack.record()
    assert landing(record.t, record.position_w, record.velocity_w, record.quat_xyzw).upright

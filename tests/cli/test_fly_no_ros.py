"""``control-stack fly --no-ros``: what a flight leaves behind, and how it ends."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml

from control_stack.cli import fly as fly_module
from control_stack.cli import report as report_module
from control_stack.safety.events import Phase

HOVER = ("--trajectory", "hover:duration=1")
WALL_CLOCK = {
    "real_time_factor",
    "loop_period_p50_s",
    "loop_period_p99_s",
    "loop_period_error_p50_s",
    "loop_period_error_p99_s",
}


def test_the_eight_is_flown_and_reported(eight) -> None:
    assert eight.code == 0 and eight.err == ""
    summary = eight.summary
    assert summary["position_rmse_m"] < 0.05
    assert summary["position_rmse_m"] <= summary["position_max_error_m"] < 0.1
    assert summary["landed_upright"] is True and summary["completed"] is True
    assert 0.2 < summary["touchdown_speed_m_s"] < 0.5
    assert summary["real_time_factor"] > 0.0 and summary["loop_period_p99_s"] > 0.0
    expected = {"controller": "foundation", "level": "rotors", "backend": "analytic", "vehicle": "crazyflie"}
    expected |= {"trajectory": "eight", "seed": 0, "ros": False, "lockstep": True, "rejections": {}}
    expected |= {"interrupted": False, "aborted": None, "wind": "none", "sensors": "none"}
    assert {key: summary[key] for key in expected} == expected
    assert isinstance(summary["git_revision"], str) and "numpy" in summary["versions"]
    assert eight.events == ["armed", "takeoff", "takeoff_done", "landing", "landed"]
    first, last = summary["measured_interval_s"]
    assert last - first == pytest.approx(3 * 5.5)  # three laps at full speed


def test_the_folder_holds_all_there_is_to_know(eight) -> None:
    assert sorted(p.name for p in eight.folder.iterdir()) == [
        "config.yaml",
        "flight.mcap",
        "flight.png",
        "summary.json",
    ]
    config = yaml.safe_load((eight.folder / "config.yaml").read_text())
    assert config["controller"] == "foundation" and config["control_rate"] == 100.0 and config["seed"] == 0
    part = "the laps at full speed"
    for text in (f"position RMSE, {part}", f"max error, {part}", "landed upright", "real-time factor"):
        assert text in eight.out
    assert str(eight.folder) in eight.out and eight.summary["measured_part"] == part


def test_it_is_flown_in_the_air_that_was_asked_for(fly) -> None:
    ends = []
    for air in ("linear", "full"):
        done = fly(*HOVER, "--controller", "geometric", "--wind", "6,0,0", "--air", air)
        assert done.summary["air"] == air == yaml.safe_load((done.folder / "config.yaml").read_text())["air"]
        ends.append(done.record.position_w[-1])
        shutil.rmtree(done.folder)
    assert np.linalg.norm(ends[1] - ends[0]) > 1e-3


def test_the_flight_time_is_that_in_the_air(eight) -> None:
    at = {event.name: event.t for event in eight.record.events}
    assert eight.summary["flight_time_s"] == pytest.approx(at["landed"] - at["takeoff"])
    assert eight.summary["flight_time_s"] < eight.record.t[-1] - eight.record.t[0]


def test_the_summary_follows_from_the_log_alone(eight) -> None:
    record, summary = eight.record, eight.summary
    first, last = summary["measured_interval_s"]
    wanted = {round(t, 6): p for t, p in zip(record.reference_t, record.reference_position, strict=True)}
    errors = [
        np.linalg.norm(p - wanted[round(t, 6)])
        for t, p in zip(record.t, record.position_w, strict=True)
        if first <= t < last
    ]
    assert len(errors) == 1650
    assert np.sqrt(np.mean(np.square(errors))) == pytest.approx(summary["position_rmse_m"], rel=1e-6)
    assert not record.truncated and record.skipped == 0
    assert [phase for phase, _, _ in record.phases()] == [
        Phase.ARMED,
        Phase.TAKEOFF,
        Phase.FLYING,
        Phase.LANDING,
        Phase.DISARMED,
    ]


def test_picture_and_summary_are_of_the_same_interval(fly: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = {}
    honest = report_module.flight_picture

    def spy(record, path, title, **options):
        seen.update(options)
        return honest(record, path, title, **options)

    monkeypatch.setattr(report_module, "flight_picture", spy)
    done = fly("--trajectory", "eight:laps=1")
    assert done.code == 0
    assert list(seen["interval"]) == done.summary["measured_interval_s"]
    assert seen["subtitle"].endswith(
        f"RMSE {1e3 * done.summary['position_rmse_m']:.1f} mm, "
        f"max {1e3 * done.summary['position_max_error_m']:.1f} mm over the laps at full speed"
    )


def test_equal_calls_leave_equal_logs(run: Callable, tmp_path: Path) -> None:
    options = ("fly", "--no-ros", "--backend", "analytic", *HOVER, "--sensors", "mocap")
    options += ("--wind", "1,0,0+dryden:light")
    a, b = (run(*options, "--seed", "5", "--out", str(tmp_path / name)) for name in ("a", "b"))
    c = run(*options, "--seed", "6", "--out", str(tmp_path / "c"))
    for one, name in ((a, "a"), (b, "b"), (c, "c")):
        one.folder = tmp_path / name
        assert one.code == 0
    assert (a.folder / "flight.mcap").read_bytes() == (b.folder / "flight.mcap").read_bytes()
    same = [{k: v for k, v in one.summary.items() if k not in WALL_CLOCK} for one in (a, b, c)]
    assert same[0] == same[1] and same[0]["position_rmse_m"] != same[2]["position_rmse_m"]


def test_level_wind_and_vehicle_are_flown_as_asked(fly: Callable) -> None:
    done = fly("--vehicle", "racer", "--level", "attitude", "--wind", "2,0,0", *HOVER, "--takeoff-height", "0.6")
    assert done.code == 0 and done.summary["level"] == "attitude" and done.summary["landed_upright"]
    assert done.record.position_w[:, 2].max() == pytest.approx(0.6 + done.record.position_w[0, 2], abs=0.05)


def test_following_the_wall_clock_is_no_faster_than_asked(fly: Callable) -> None:
    done = fly(*HOVER, "--realtime", "20")
    assert done.code == 0 and done.summary["lockstep"] is False
    assert done.summary["real_time_factor"] < 21.0


def test_a_users_controller_flies_from_its_file(fly: Callable) -> None:
    example = Path(__file__).parents[2] / "examples" / "my_controller.py"
    done = fly("--controller", f"{example}:MyController", *HOVER)
    assert done.code == 0 and done.summary["controller"] == f"{example}:MyController"
    assert done.out.startswith("crazyflie / my_controller.py:MyController  ")  # however long the way to it
    assert done.summary["measured_part"] == "the whole trajectory"


def test_a_users_controller_that_raises_in_flight_is_brought_down(fly: Callable, tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "from controllers.geometric import GeometricController\n"
        "class Mine(GeometricController):\n"
        "    def __call__(self, t, state, reference):\n"
        "        if t > 4.0:\n"
        "            return 1 / 0\n"
        "        return super().__call__(t, state, reference)\n"
    )
    done = fly("--controller", f"{file}:Mine", "--trajectory", "hover:duration=20")
    assert done.code == 1
    assert done.err.splitlines() == [f"aborted: {done.summary['aborted']}"]
    assert "ZeroDivisionError: division by zero (mine.py, line 5)" in done.err
    assert done.summary["landed_upright"] is True and done.summary["completed"] is False
    assert done.events[-4:] == ["controller_failed", "command_timeout", "landing", "landed"]
    assert "no controller: landing" in done.out
    assert done.summary["position_rmse_m"] is None
    assert "nan" not in done.out and "no RMSE: the whole trajectory not flown to the end" in done.out


def press_ctrl_c(monkeypatch: pytest.MonkeyPatch, *moments: Callable[[float, Phase], bool]) -> None:
    """Once at each of the moments, in turn, in the middle of a flight."""
    left = list(moments)

    def watch(self, t: float, phase: Phase) -> None:
        if left and left[0](t, phase):
            left.pop(0)
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(fly_module.ProgressBar, "__call__", watch)


@pytest.mark.parametrize("moment", [0.05, 1.5, 5.0])
def test_ctrl_c_lands_and_leaves_everything(fly: Callable, monkeypatch: pytest.MonkeyPatch, moment: float) -> None:
    """At the very start, while taking off, and in flight."""
    handler = signal.getsignal(signal.SIGINT)
    press_ctrl_c(monkeypatch, lambda t, phase: t > moment)
    done = fly("--trajectory", "eight")
    assert done.code == 130 and done.err.splitlines() == ["interrupted: the vehicle was brought down first"]
    assert done.summary["interrupted"] is True and done.summary["landed_upright"] is True
    assert done.summary["completed"] is False and done.events[-1] == "landed"
    assert not done.record.truncated and (done.folder / "flight.png").stat().st_size > 10_000
    assert signal.getsignal(signal.SIGINT) is handler


def test_a_second_ctrl_c_cuts(fly: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    press_ctrl_c(monkeypatch, lambda t, phase: t > 5.0, lambda t, phase: phase is Phase.LANDING)
    done = fly("--trajectory", "eight")
    assert done.code == 130 and done.events[-2:] == ["landing", "emergency"]
    assert done.err.splitlines() == ["interrupted: the motors were cut"]
    assert not done.record.truncated and done.summary["interrupted"] is True


@pytest.mark.parametrize(
    ("number", "ignored"),
    [(signal.SIGINT, False), (signal.SIGINT, True), (signal.SIGTERM, False)],
    ids=["Ctrl-C", "Ctrl-C where the shell ignores it", "SIGTERM"],
)
def test_ended_from_outside(tmp_path: Path, number: int, ignored: bool) -> None:
    """A process of its own, ended as by a terminal, in the background of a shell, or by kill."""
    folder = tmp_path / "run"
    options = [
        "--no-ros",
        "--backend",
        "analytic",
        "--trajectory",
        "hover:duration=3000",
        "--out",
        str(folder),
    ]
    process = subprocess.Popen(
        [sys.executable, "-m", "control_stack.cli", "fly", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        preexec_fn=(lambda: signal.signal(signal.SIGINT, signal.SIG_IGN)) if ignored else None,
    )
    log = folder / "flight.mcap"
    deadline = time.monotonic() + 60.0
    while not (log.exists() and log.stat().st_size > 200_000):  # some seconds into the flight
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(number)
    out, err = process.communicate(timeout=60.0)
    assert process.returncode == 130
    assert err.splitlines() == ["interrupted: the vehicle was brought down first"]
    assert "landed upright" in out and (folder / "summary.json").exists()

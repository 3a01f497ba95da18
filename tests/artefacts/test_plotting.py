"""The picture of a flight: drawn from what a log holds, whatever it lacks, and without side effects."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from closed_loop import closed_loop_function
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from mpl_toolkits import mplot3d  # noqa: F401  (registers the 3-D projection)
from PIL import Image

import control_stack
from control_stack.artefacts import plotting
from control_stack.artefacts.log import FlightLog
from control_stack.artefacts.metrics import interpolated_at, landing, tracking_metrics
from control_stack.artefacts.plotting import flight_picture
from control_stack.artefacts.record import FlightRecord, read_flight
from control_stack.errors import InvalidInput
from control_stack.laws.cascade import InnerLoops, command_columns
from control_stack.quadrotor.parameters import load_vehicle
from control_stack.safety.events import Event, Phase, Severity
from control_stack.types import CommandLevel, PositionCommand, QuadrotorState, Reference

LEG = 0.015  # m
LAP = 8.0  # s


def wanted_at(t: float) -> tuple[str, Reference]:
    """Phase and reference of a short flight: climb, one lap of an eight, descend, rest."""
    if t < 2.0:
        s = min(t / 1.8, 1.0)
        height = LEG + (1.0 - LEG) * s**3 * (10.0 - 15.0 * s + 6.0 * s**2)
        return "takeoff", Reference(np.array([0.0, 0.0, height]))
    if t < 2.0 + LAP:
        w = 2.0 * np.pi / LAP
        a = w * (t - 2.0)
        velocity = np.array([w * np.cos(a), w * np.cos(2.0 * a), 0.0])
        return "flying", Reference(np.array([np.sin(a), 0.5 * np.sin(2.0 * a), 1.0]), velocity)
    sink = t - 2.0 - LAP
    if sink < 3.5:
        return "landing", Reference(np.array([0.0, 0.0, 1.0 - 0.4 * sink]), np.array([0.0, 0.0, -0.4]))
    return "disarmed", Reference(np.array([0.0, 0.0, LEG]))


@pytest.fixture(scope="module")
def flight(tmp_path_factory) -> FlightRecord:
    """A Crazyflie's inner loops following position commands in simulation, logged and read back."""
    parameters = load_vehicle("crazyflie")
    step = closed_loop_function(InnerLoops.of(parameters), CommandLevel.POSITION, LEG, 0.002)
    airframe, calm = parameters.flatten(), np.zeros(9)
    x = np.zeros(17)
    x[2], x[9] = LEG, 1.0
    path = tmp_path_factory.mktemp("flight") / "flight.mcap"
    now = ""
    with FlightLog(path) as log:
        for k in range(1400):
            t = 0.01 * k
            phase, reference = wanted_at(t)
            if phase != now:
                now = phase
                log.event(t, Severity.OK, phase, phase, {"phase": phase})
            state = QuadrotorState(x[0:3], x[3:6], x[6:10], x[10:13], x[13:17], t)
            command = PositionCommand(reference.position_w, reference.velocity_w, stamp=t)
            log.state("/odom", t, state)
            log.rotor_speeds("/joint_states", t, x[13:17])
            log.reference("/reference", t, reference)
            log.command("/actuators/command", t, command)
            columns = np.array(command_columns(command))
            for _ in range(5):
                x = np.array(step(x, columns, calm, airframe)[0]).ravel()
    return read_flight(path)


def colours(path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB"))


def differing(a, b) -> float:
    return float(np.any(colours(a) != colours(b), axis=-1).mean())


def test_the_synthetic_flight_is_plausible(flight):
    """What is drawn below is a flight: it follows its reference, tilts, and lands upright."""
    reference = interpolated_at(flight.t, flight.reference_t, flight.reference_position)
    figures = tracking_metrics(flight.t, flight.position_w, reference, flight.interval(Phase.FLYING))
    assert 0.005 < figures["position_rmse_m"] < 0.3
    end = landing(flight.t, flight.position_w, flight.velocity_w, flight.quat_xyzw)
    assert end.upright and 0.2 < end.touchdown_speed < 0.6
    hover = load_vehicle("crazyflie").hover_rotor_speed
    middle = (flight.rotor_t > 3.0) & (flight.rotor_t < 9.0)
    assert flight.rotor_speed[middle].mean() == pytest.approx(hover, rel=0.03)


def test_a_picture_of_its_promised_size(flight, tmp_path):
    path = flight_picture(flight, tmp_path / "flight.png", "Crazyflie", subtitle="eight", rotor_limits=(0.0, 2500.9))
    with Image.open(path) as image:
        assert image.format == "PNG" and image.size == (1400, 900)
    assert path.stat().st_size < 250_000
    ink = (colours(path) < 250).any(axis=-1).mean()
    assert 0.05 < ink < 0.6


def test_the_picture_shows_what_was_flown(flight, tmp_path):
    """Another path, another phase, a limit or an alarm each change the picture; the same record does not."""
    first = flight_picture(flight, tmp_path / "a.png", "flight")
    assert differing(first, flight_picture(flight, tmp_path / "b.png", "flight")) == 0.0
    changes = {
        "path": {"position_w": flight.position_w + np.array([0.3, 0.0, 0.0])},
        "rotors": {"rotor_speed": 0.5 * flight.rotor_speed},
        "phases": {"events": []},
        "alarm": {"events": [*flight.events, Event(5.0, Severity.WARN, "command_timeout", "holding")]},
    }
    for name, change in changes.items():
        other = FlightRecord(**{**vars(flight), **change})
        assert differing(first, flight_picture(other, tmp_path / f"{name}.png", "flight")) > 5e-4, name
    part = flight_picture(flight, tmp_path / "part.png", "flight", interval=(4.0, 6.0))
    assert differing(first, part) > 5e-4
    limited = flight_picture(flight, tmp_path / "limits.png", "flight", rotor_limits=(0.0, 2500.9))
    assert differing(first, limited) > 5e-4


def error_panel(flight, interval):
    axes = Figure().add_subplot()
    plotting._draw_error(axes, flight, interval)
    return axes, [text.get_text() for text in axes.get_legend().get_texts()]


def test_the_rmse_has_one_unit_and_is_that_of_the_interval(flight):
    reference = interpolated_at(flight.t, flight.reference_t, flight.reference_position)
    rmse = tracking_metrics(flight.t, flight.position_w, reference, (4.0, 6.0))["position_rmse_m"]
    axes, labels = error_panel(flight, (4.0, 6.0))
    assert axes.get_ylabel() == "position error [mm]" and labels[-1] == f"RMSE {1e3 * rmse:.1f} mm"
    # An interval of which a part was not flown has no figure.
    assert "RMSE" not in " ".join(error_panel(flight, (4.0, 12.0))[1])


def test_names_of_phases_lie_below_the_curves(flight):
    axes, _ = error_panel(flight, None)
    plotting._name_phases(axes, flight)
    canvas = FigureCanvasAgg(axes.figure)
    canvas.draw()
    names = [text for text in axes.texts if text.get_text() in ("flight", "landing")]
    assert len(names) == 2
    lowest = min(np.nanmin(line.get_ydata()) for line in axes.lines)
    foot = axes.transData.transform((0.0, lowest))[1]
    assert all(text.get_window_extent(canvas.get_renderer()).y1 < foot for text in names)


def test_a_start_under_the_end_is_seen(flight):
    axes = Figure().add_subplot(projection="3d")
    plotting._draw_path(axes, flight)
    start, end = (next(line for line in axes.lines if line.get_label() == name) for name in ("start", "end"))
    assert np.linalg.norm(flight.position_w[0] - flight.position_w[-1]) < 0.05  # here they are the same place
    assert start.get_markerfacecolor() == "none"
    assert start.get_markersize() - 2.0 * start.get_markeredgewidth() > end.get_markersize()


@pytest.mark.parametrize(
    "missing",
    [
        {"rotor_t": np.zeros(0), "rotor_speed": np.zeros((0, 4))},
        {"rotor_t": np.zeros(0), "rotor_speed": np.zeros((0, 4)), "commands": {}},
        {"reference_t": np.zeros(0), "reference_position": np.zeros((0, 3))},
        {"events": [Event(1.0, Severity.ERROR, "cut", "motors off", {"phase": "emergency"})]},
    ],
    ids=["rotor speeds", "any command", "reference", "phases"],
)
def test_what_a_log_lacks_is_left_out(flight, tmp_path, missing):
    record = FlightRecord(**{**vars(flight), **missing})
    path = flight_picture(record, tmp_path / "flight.png", "flight", rotor_limits=(0.0, 2500.9))
    assert colours(path).shape == (900, 1400, 3)


def test_a_record_with_holes_is_drawn(flight, tmp_path):
    position = flight.position_w.copy()
    position[200:260] = np.nan
    record = FlightRecord(**{**vars(flight), "position_w": position})
    assert flight_picture(record, tmp_path / "flight.png", "flight").stat().st_size > 10_000


def test_nothing_to_draw_is_an_error(tmp_path):
    with pytest.raises(InvalidInput, match="fewer than two states"):
        flight_picture(FlightRecord(), tmp_path / "flight.png", "flight")
    assert not list(tmp_path.iterdir())


def test_no_global_state_of_matplotlib_is_touched(flight, tmp_path):
    import matplotlib

    before = dict(matplotlib.rcParams)
    flight_picture(flight, tmp_path / "flight.png", "flight")
    assert dict(matplotlib.rcParams) == before


def test_matplotlib_is_imported_only_to_draw_and_pyplot_never(tmp_path):
    code = (
        "import sys, numpy as np; from control_stack.artefacts.plotting import flight_picture;"
        "from control_stack.artefacts.record import FlightRecord;"
        "assert 'matplotlib' not in sys.modules;"
        "r = FlightRecord(t=np.arange(2.0), position_w=np.eye(3)[:2], quat_xyzw=np.eye(4)[[3, 3]]);"
        "flight_picture(r, sys.argv[1], 'a');"
        "assert 'matplotlib' in sys.modules and 'matplotlib.pyplot' not in sys.modules"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(control_stack.__file__).resolve().parents[1])}
    command = [sys.executable, "-c", code, str(tmp_path / "a.png")]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "a.png").is_file()

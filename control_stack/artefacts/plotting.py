"""The picture of a flight: path, errors, height and rotor speeds on one page. Imports Matplotlib to draw."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from control_stack.artefacts.metrics import interpolated_at, tilt, tracking_metrics
from control_stack.artefacts.record import FlightRecord
from control_stack.artefacts.scene_picture import draw_scene, mark_filter
from control_stack.errors import InvalidInput, MissingDependency
from control_stack.safety.barrier.scene import Scene
from control_stack.safety.events import Phase, Severity
from control_stack.types import Array, CommandLevel

# Okabe, Ito 2008: told apart with every common kind of colour blindness.
_BLUE, _ORANGE, _GREEN, _RED, _SKY, _PURPLE = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7"
_INK, _FAINT, _GRID = "#22272E", "#6B7480", "#DDE1E6"
_AXIS_COLOURS = (_BLUE, _ORANGE, _GREEN)
_PHASE_COLOURS = {
    Phase.TAKEOFF: "#CFE6F5",
    Phase.HOLD: "#F6DCEB",
    Phase.LANDING: "#FBE9C6",
    Phase.EMERGENCY: "#F5CDBB",
}
_PHASE_NAMES = {Phase.TAKEOFF: "take-off", Phase.FLYING: "flight"}
_WIDTH, _HEIGHT, _DPI = 14.0, 9.0, 100
_FOOT = 0.16  # of the top panel's height, kept free below its curves for the names of phases
_MAX_GAP = 0.25  # s between references; across a longer gap there is no error to draw
_UNITS = {
    CommandLevel.ROTORS: "rad/s",
    CommandLevel.CTBR: "rad/s, N",
    CommandLevel.ATTITUDE: "1, N, rad/s",
    CommandLevel.VELOCITY: "m/s, rad",
    CommandLevel.POSITION: "m, m/s, rad",
}


def flight_picture(
    record: FlightRecord,
    path: str | Path,
    title: str,
    *,
    subtitle: str = "",
    rotor_limits: tuple[float, float] | None = None,
    interval: tuple[float, float] | None = None,
    scene: Scene | None = None,
) -> Path:
    """Draws a flight into a PNG of 1400 x 900 pixels.

    Left the path flown and its reference in space; right, over time and with the phases shaded, the position
    error, height with tilt, and the rotor speeds (the command where they were not measured).

    Args:
        record: Of ``record.read_flight``, or one put together by hand; it needs at least two states.
        path: The file to write.
        title: First line, e.g. the vehicle and what it flew.
        subtitle: Second line, e.g. controller, simulator and figures.
        rotor_limits: Lowest and highest rotor speed of the vehicle, rad/s, drawn as lines.
        interval: Over which the RMSE is taken and drawn, s, if all of it was flown; by default the whole phase
            "flying".
        scene: What a filter guarded: drawn in space, and the times in which it changed commands as a strip.

    Raises:
        InvalidInput: There is nothing to draw.
        MissingDependency: Matplotlib is not installed.
    """
    if len(record.t) < 2:
        raise InvalidInput("a flight of fewer than two states has no picture")
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
        from mpl_toolkits import mplot3d  # noqa: F401  (registers the 3-D projection)
    except ImportError:
        raise MissingDependency("matplotlib", "sim", "it draws the flight") from None
    phases = record.phases()
    if phases:
        record, interval = _since(record, interval, phases[0][1])
    # Figure without pyplot: no window, no global list of figures, no style left behind.
    figure = Figure(figsize=(_WIDTH, _HEIGHT), dpi=_DPI, facecolor="white")
    FigureCanvasAgg(figure)
    figure.text(0.03, 0.955, title, fontsize=19, fontweight="bold", color=_INK, va="center")
    figure.text(0.03, 0.917, subtitle, fontsize=12.5, color=_FAINT, va="center")
    space = figure.add_axes((-0.042, -0.03, 0.595, 0.94), projection="3d")
    _draw_path(space, record)
    if scene is not None:
        draw_scene(space, scene)
    left, width = 0.625, 0.315
    error = figure.add_axes((left, 0.645, width, 0.235))
    height = figure.add_axes((left, 0.38, width, 0.19), sharex=error)
    rotors = figure.add_axes((left, 0.085, width, 0.225), sharex=error)
    for axes in (error, height, rotors):
        _style(axes)
        _shade_phases(axes, record)
        _mark_alarms(axes, record)
        mark_filter(axes, record)
    _draw_error(error, record, interval)
    _draw_height(height, record)
    _draw_rotors(rotors, record, rotor_limits)
    _name_phases(error, record)
    # Waiting on the ground before it is armed says nothing.
    error.set_xlim(max(record.t[0], -1.0) if phases else record.t[0], record.t[-1])
    rotors.set_xlabel("time since arming [s]" if phases else "time [s]", fontsize=11, color=_INK)
    error.tick_params(labelbottom=False)
    height.tick_params(labelbottom=False)
    return _save(figure, Path(path))


def _since(
    record: FlightRecord, interval: tuple[float, float] | None, start: float
) -> tuple[FlightRecord, tuple[float, float] | None]:
    """The record and the interval with times counted from ``start``, s."""
    shifted = replace(
        record,
        t=record.t - start,
        rotor_t=record.rotor_t - start,
        commands={level: (t - start, columns) for level, (t, columns) in record.commands.items()},
        reference_t=record.reference_t - start,
        wind_t=record.wind_t - start,
        events=[replace(event, t=event.t - start) for event in record.events],
    )
    return shifted, None if interval is None else (interval[0] - start, interval[1] - start)


def _save(figure: Any, path: Path) -> Path:
    """Writes a PNG of 256 colours: a third of the size, and what a repository has to carry."""
    from PIL import Image

    figure.canvas.draw()
    image = Image.fromarray(np.asarray(figure.canvas.buffer_rgba())).convert("RGB")
    image.quantize(256, dither=Image.Dither.NONE).save(path, format="PNG", optimize=True)
    return path


def _style(axes: Any) -> None:
    axes.grid(True, color=_GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(_FAINT)
    axes.tick_params(colors=_INK, labelsize=10.5)


def _label(axes: Any, text: str, place: float = -0.135) -> None:
    axes.set_ylabel(text, fontsize=11, color=_INK)
    axes.yaxis.set_label_coords(place, 0.5)


def _legend(axes: Any, columns: int, **kwargs: Any) -> None:
    axes.legend(
        ncol=columns,
        fontsize=10,
        frameon=False,
        loc="lower right",
        bbox_to_anchor=(1.01, 0.98),
        borderaxespad=0.1,
        columnspacing=1.3,
        handlelength=1.5,
        handletextpad=0.5,
        **kwargs,
    )


def _shade_phases(axes: Any, record: FlightRecord) -> None:
    for phase, start, stop in record.phases():
        if phase in _PHASE_COLOURS:
            axes.axvspan(start, stop, color=_PHASE_COLOURS[phase], linewidth=0, zorder=0)


def _mark_alarms(axes: Any, record: FlightRecord) -> None:
    for event in record.events:
        if event.severity >= Severity.WARN:
            axes.axvline(event.t, color=_RED, linewidth=1.2, zorder=1)


def _name_phases(axes: Any, record: FlightRecord) -> None:
    """Names of phases at the foot of the top panel, where they fit; those of alarms beside their lines."""
    total = record.t[-1] - record.t[0]
    for phase, start, stop in record.phases():
        name = _PHASE_NAMES.get(phase, phase.value)
        if phase not in (Phase.DISARMED, Phase.ARMED) and stop - start > 0.012 * len(name) * total:
            axes.annotate(
                name,
                (0.5 * (start + stop), 0.02),
                xycoords=("data", "axes fraction"),
                ha="center",
                va="bottom",
                fontsize=10,
                color=_FAINT,
            )
    alarms = [event for event in record.events if event.severity >= Severity.WARN]
    for k, event in enumerate(alarms[:4]):
        axes.annotate(
            f" {event.name}",
            (event.t, 0.9 - 0.1 * k),
            xycoords=("data", "axes fraction"),
            fontsize=10,
            color=_RED,
            bbox={"facecolor": "white", "alpha": 0.75, "linewidth": 0, "pad": 1.0},
        )


def _reference_at(record: FlightRecord) -> Array:
    return interpolated_at(record.t, record.reference_t, record.reference_position, _MAX_GAP)


def _draw_path(axes: Any, record: FlightRecord) -> None:
    from matplotlib.ticker import MaxNLocator

    flown = record.position_w
    wanted = record.reference_position
    flight = record.interval(Phase.FLYING)
    if flight is not None and len(wanted):  # before take-over and while landing the reference is the vehicle itself
        wanted = wanted[(record.reference_t >= flight[0]) & (record.reference_t < flight[1])]
    ground = min(0.0, float(np.nanmin(flown[:, 2])))
    axes.plot(flown[:, 0], flown[:, 1], np.full(len(flown), ground), color="#C9CED4", linewidth=1.4)
    if len(wanted):
        axes.plot(*wanted.T, color=_ORANGE, linewidth=4.5, alpha=0.75, label="reference", solid_capstyle="round")
    axes.plot(*flown.T, color=_BLUE, linewidth=1.5, label="flown")
    # A flight mostly ends where it started: the ring of the one leaves room for the other.
    ring = {"markerfacecolor": "none", "markeredgecolor": _GREEN, "markeredgewidth": 2.2, "linestyle": "none"}
    axes.plot(*flown[:1].T, marker="o", markersize=14, label="start", **ring)
    axes.plot(*flown[-1:].T, "s", color=_RED, markersize=6, label="end")
    low, high = np.nanmin(flown, axis=0), np.nanmax(flown, axis=0)
    if len(wanted):
        low, high = np.fmin(low, wanted.min(axis=0)), np.fmax(high, wanted.max(axis=0))
    low[2] = min(low[2], ground)
    # Equal scales on all axes, but no axis flatter than a third of the longest.
    half = np.maximum(0.5 * (high - low), max(float((high - low).max()) / 6.0, 0.05)) * 1.04
    centre = 0.5 * (low + high)
    centre[2] = low[2] + half[2]
    axes.set(xlim=centre[0] + half[0] * np.array([-1, 1]), ylim=centre[1] + half[1] * np.array([-1, 1]))
    axes.set_zlim(low[2], low[2] + 2 * half[2])
    axes.set_box_aspect(half, zoom=0.9)
    axes.view_init(elev=24, azim=-62)
    for axis, name in ((axes.xaxis, "x"), (axes.yaxis, "y"), (axes.zaxis, "z")):
        axis.set_label_text(f"{name} [m]", fontsize=11, color=_INK)
        axis.labelpad = 8 if name != "z" else 3
        axis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
        axis.set_pane_color((0.965, 0.97, 0.975, 1.0))
        axis._axinfo["grid"].update(color=_GRID, linewidth=0.8)
        axis.line.set_color(_FAINT)
    axes.tick_params(colors=_INK, labelsize=10)
    axes.legend(ncol=4, fontsize=11, frameon=False, loc="upper center", bbox_to_anchor=(0.53, 0.94))


def _draw_error(axes: Any, record: FlightRecord, interval: tuple[float, float] | None) -> None:
    error = 1e3 * (record.position_w - _reference_at(record))
    flight = record.interval(Phase.FLYING)
    if flight is not None:
        error[(record.t < flight[0]) | (record.t >= flight[1])] = np.nan
    for k, name in enumerate("xyz"):
        axes.plot(record.t, error[:, k], color=_AXIS_COLOURS[k], linewidth=1.2, label=name)
    axes.plot(record.t, np.linalg.norm(error, axis=1), color=_INK, linewidth=1.8, label="norm")
    counted = np.isfinite(error).all(axis=1)
    if interval is not None:
        counted = (record.t >= interval[0]) & (record.t < interval[1])
    times, values = record.t[counted], error[counted]
    # NaN where a part of the interval was not flown: no line then, as there is no figure in the summary.
    rmse = tracking_metrics(times, values, np.zeros_like(values))["position_rmse_m"]
    if np.isfinite(rmse):
        style = {"color": _INK, "linewidth": 1.2, "linestyle": (0, (4, 3))}
        axes.plot(times[[0, -1]], [rmse, rmse], label=f"RMSE {rmse:.1f} mm", **style)
    low, high = axes.get_ylim()
    axes.set_ylim(low - _FOOT * (high - low), high)
    _label(axes, "position error [mm]")
    _legend(axes, 5)


def _draw_height(axes: Any, record: FlightRecord) -> None:
    axes.plot(record.t, record.position_w[:, 2], color=_BLUE, linewidth=1.6)
    _label(axes, "height [m]")
    axes.yaxis.label.set_color(_BLUE)
    twin = axes.twinx()
    twin.plot(record.t, np.degrees(tilt(record.quat_xyzw)), color=_RED, linewidth=1.2)
    twin.set_ylabel("tilt [deg]", fontsize=11, color=_RED)
    twin.tick_params(colors=_INK, labelsize=10.5, right=False)
    twin.set_ylim(bottom=0.0)
    for side in twin.spines.values():
        side.set_visible(False)


def _draw_rotors(axes: Any, record: FlightRecord, limits: tuple[float, float] | None) -> None:
    colours = (*_AXIS_COLOURS, _PURPLE, _RED, _SKY, _INK, _FAINT)
    if len(record.rotor_t):
        t, values, label = record.rotor_t, record.rotor_speed, "rotor speed [rad/s]"
    elif CommandLevel.ROTORS in record.commands:
        (t, values), label = record.commands[CommandLevel.ROTORS], "rotor command [rad/s]"
    elif record.commands:
        level = max(record.commands, key=lambda key: len(record.commands[key][0]))
        (t, values), label, limits = record.commands[level], f"{level.value} command [{_UNITS[level]}]", None
    else:
        axes.text(0.5, 0.5, "no command in this record", transform=axes.transAxes, ha="center", color=_FAINT)
        return
    names = [f"rotor {k}" for k in range(4)] if "rotor" in label else [""] * values.shape[1]
    for k, name in enumerate(names):
        axes.plot(t, values[:, k], color=colours[k], linewidth=1.0, label=name, alpha=0.9)
    if limits is not None:
        for limit, name in zip(limits, ("min", "max"), strict=True):
            axes.axhline(limit, color=_INK, linewidth=1.0, linestyle=(0, (4, 3)))
            axes.annotate(
                name, (1.005, limit), xycoords=("axes fraction", "data"), va="center", fontsize=10, color=_INK
            )
    _label(axes, label)
    if names[0]:
        _legend(axes, 4)

"""The picture of an arm's run: the flange's error, loads, joints and torques over time. Imports Matplotlib to draw."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from control_stack.arm.parameters import ArmParameters
from control_stack.errors import MissingDependency
from control_stack.types import Array

# Okabe, Ito 2008: told apart with every common kind of colour blindness.
_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7", "#6B7480")
_INK, _FAINT, _GRID = "#22272E", "#6B7480", "#DDE1E6"


@dataclass(frozen=True)
class ArmRecord:
    """What a log says of an arm's run.

    Attributes:
        t: (m,) s. position, velocity, reference: (m, n) rad, rad/s, rad. flange, flange_reference: (m, 3) m.
        command_t, effort: (c,) s when each command began to act, (c, n) N m.
        load_t, load_mass: (l,) s and kg of what the flange holds from then on.
        calls: Key values of each call of the controller.
    """

    t: Array
    position: Array
    velocity: Array
    reference: Array
    flange: Array
    flange_reference: Array
    command_t: Array
    effort: Array
    load_t: Array
    load_mass: Array
    calls: list[dict[str, str]]

    @cached_property
    def error(self) -> Array:
        """(m,) distance of the flange from its reference, m."""
        return np.linalg.norm(self.flange - self.flange_reference, axis=1)


def arm_picture(record: ArmRecord, arm: ArmParameters, path: str | Path, title: str) -> Path:
    """Draws a run into a PNG; returns its path. Raises MissingDependency."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingDependency("matplotlib", "sim", "it draws the picture") from None
    figure = Figure(figsize=(11.0, 8.0), dpi=100, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title, x=0.01, ha="left", fontsize=13, color=_INK)
    error, joints, torque = figure.subplots(3, 1, sharex=True, gridspec_kw={"height_ratios": (1.2, 1.0, 1.0)})
    error.plot(record.t, 1e3 * record.error, color=_COLOURS[0], linewidth=1.6)
    rms = 1e3 * float(np.sqrt(np.mean(record.error**2)))
    error.axhline(rms, color=_COLOURS[0], linewidth=0.9, linestyle=(0, (4, 3)))
    error.set_title(f"error of the flange, mm; RMS {rms:.2g} mm (dashed)", **_TITLE)
    error.set_ylim(0.0, max(1.25e3 * float(record.error.max()), 1e-3))
    ends = [*record.load_t[1:].tolist(), float(record.t[-1])]
    for k, (begin, end, mass) in enumerate(zip(record.load_t.tolist(), ends, record.load_mass.tolist(), strict=True)):
        for axes in (error, joints, torque):
            if k:
                axes.axvline(begin, color=_INK, linewidth=0.9)
        text = f"holds {mass:.2g} kg" if mass else "holds nothing"
        error.text(0.5 * (begin + end), 0.97, text, transform=error.get_xaxis_transform(), ha="center", va="top",
                   fontsize=9, color=_INK)  # fmt: skip
    share = record.effort / arm.torque_limit
    for k, name in enumerate(arm.joint_names):
        colour = _COLOURS[k % len(_COLOURS)]
        joints.plot(record.t, record.reference[:, k], color=colour, linewidth=2.6, alpha=0.3)
        joints.plot(record.t, record.position[:, k], color=colour, linewidth=1.1)
        torque.step(record.command_t, 100.0 * share[:, k], where="post", color=colour, linewidth=1.1, label=name)
    joints.set_title("angles, rad (wide and faint: reference)", **_TITLE)
    torque.set_title("torques sent, % of each joint's limit", **_TITLE)
    torque.set_xlabel("s", color=_FAINT)
    torque.legend(
        loc="upper center", bbox_to_anchor=(0.5, -0.22), ncols=len(arm.joint_names), frameon=False, fontsize=8
    )
    for axes in (error, joints, torque):
        axes.grid(color=_GRID, linewidth=0.7)
        axes.tick_params(colors=_FAINT, labelsize=8)
        axes.spines[["top", "right"]].set_visible(False)
        axes.spines[["left", "bottom"]].set_color(_GRID)
    torque.set_xlim(float(record.t[0]), float(record.t[-1]))
    figure.savefig(path)
    return Path(path)


_TITLE = {"fontsize": 10, "color": _INK, "loc": "left"}

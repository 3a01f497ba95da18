"""Pictures of a report of ``bench foundation``: scores and failures; probes and ablation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.foundation_insight import ABLATION_TESTS, axis
from control_stack.errors import MissingDependency

# Okabe, Ito 2008.
COLOURS = {"ours": "#0072B2", "peer": "#D55E00"}
LABELS = {"ours": "ours", "peer": "RAPTOR as released"}
_CYCLE = ("#0072B2", "#E69F00", "#009E73", "#CC79A7")
_DPI = 110
_FAILURES = ("hover, random force", "torque/inertia 40-100")


def draw(report: Mapping[str, Any], path: Path) -> Path:
    """RMSE of survivors, share lost with its interval, and which airframes were lost; bare against bare."""
    details = {name: d for name, d in report.get("details", {}).items() if "ours" in d and "peer" in d}
    figure = blank(16.0, 7.0)
    left, middle, right = figure.subplots(1, 3, width_ratios=(1.25, 1.0, 1.0))
    tidy(left, middle, right)
    tests = [name for name in details if "after 2 s" not in name]
    _distributions(left, {name: details[name] for name in tests})
    _lost_shares(middle, [row for row in report["rows"] if row["metric"] == "survived"], list(details))
    _failures(right, details)
    handles, labels = middle.get_legend_handles_labels()
    figure.legend(handles, labels, frameon=False, loc="outside upper right", ncols=2)
    title = "Foundation policy beside RAPTOR as released: same airframes and seeds, no wrapper"
    figure.suptitle(title, x=0.01, ha="left")
    figure.savefig(path)
    return path


def blank(width: float, height: float) -> Any:
    """Without pyplot: no window, no global list of figures."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingDependency("matplotlib", "sim", "it draws the pictures") from None
    figure = Figure(figsize=(width, height), dpi=_DPI, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def tidy(*panels: Any) -> None:
    for axes in panels:
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(color="#DDE1E6")
        axes.set_axisbelow(True)


def _distributions(axes: Any, details: Mapping[str, Any]) -> None:
    for k, (name, colour) in enumerate(COLOURS.items()):
        p = 1000.0 * np.array([test[name]["rmse_percentiles"] or [np.nan] * 5 for test in details.values()]).T
        places = np.arange(len(details)) + 0.2 * (2 * k - 1)
        axes.hlines(places, p[0], p[4], color=colour, lw=1.0)
        axes.barh(places, p[3] - p[1], 0.32, left=p[1], color=colour, alpha=0.6)
        axes.plot(p[2], places, "|", color="#22272E", ms=8, mew=1.6)
    axes.set(xscale="log", xlabel="RMSE of survivors, mm: 5, 25, 50, 75, 95 % of airframes", title="Precision")
    axes.set_yticks(range(len(details)), list(details))
    axes.invert_yaxis()


def _lost_shares(axes: Any, rows: Sequence[Mapping[str, Any]], tests: Sequence[str]) -> None:
    known = {row["test"]: row for row in rows}
    for k, (name, value, interval) in enumerate((("ours", "value", "interval"), ("peer", "peer", "peer_interval"))):
        # Intervals of what survived, turned into those of what did not.
        shares = 100.0 - np.array([known[test][value] for test in tests], float)
        spans = 100.0 - np.array([known[test][interval] for test in tests], float).T[::-1]
        places = np.arange(len(tests)) + 0.2 * (2 * k - 1)
        error = np.clip(np.stack([shares - spans[0], spans[1] - shares]), 0.0, None)
        axes.barh(places, shares, 0.36, color=COLOURS[name], alpha=0.75, xerr=error, label=LABELS[name],
                  error_kw={"lw": 0.8, "ecolor": "#22272E"})  # fmt: skip
    axes.set_xscale("symlog", linthresh=0.1)
    axes.set_xticks([0.0, 0.1, 1.0, 10.0, 100.0], ["0", "0.1", "1", "10", "100"])
    axes.set(xlabel="%, with 95 % intervals (linear below 0.1)", title="Lost", xlim=(0, 110))
    axes.set_yticks(range(len(tests)), list(tests))
    axes.invert_yaxis()


def _failures(axes: Any, details: Mapping[str, Any]) -> None:
    tests = [test for test in _FAILURES if test in details]
    for name, marker in (("peer", "o"), ("ours", "x")):
        gone = [details[test][name]["lost"] for test in tests]
        x = [v for g in gone for v in g["torque_to_inertia"]]
        y = [v for g in gone for v in g["thrust_to_weight"]]
        faces = {"facecolors": "none", "edgecolors": COLOURS[name]} if marker == "o" else {"c": COLOURS[name]}
        total = sum(g["count"] for g in gone)
        label = f"{LABELS[name]}: {total}" + (f", {len(x)} drawn" if len(x) < total else "")
        axes.scatter(x, y, 22, marker=marker, lw=1.0, label=label, **faces)
    axes.set(xscale="log", xlim=(35, 1300), ylim=(1.3, 5.2), xlabel="largest roll torque / inertia, rad/s²",
             ylabel="thrust / weight", title="Airframes lost:\n" + "\n".join(tests))  # fmt: skip
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.1), fontsize=8)


def draw_insight(report: Mapping[str, Any], path: Path) -> list[Path]:
    """Probes over time; scores over hidden size and over teachers, where the report has them."""
    details = report.get("details", {})
    known, listed = details.get("probes"), details.get("ablation", {}).get("students", [])
    panels = [("hidden", "hidden size"), ("teachers", "teachers")]
    panels = [(key, label) for key, label in panels if axis(listed, key)]
    if not known and not panels:
        return []
    count = bool(known) + len(panels)
    figure = blank(6.5 * count, 4.6)
    places = list(figure.subplots(1, count, squeeze=False)[0])
    tidy(*places)
    if known:
        _probes(places.pop(0), known)
    for place, (key, label) in zip(places, panels, strict=True):
        _scores(place, axis(listed, key), key, label)
    figure.savefig(path)
    return [path]


def _probes(axes: Any, known: Mapping[str, Any]) -> None:
    for name, style in (("ours", "-"), ("peer", "--")):
        for colour, (what, curve) in zip(_CYCLE, known["r2"][name].items(), strict=True):
            # What is worse than guessing the mean is no knowledge, however much worse.
            values = np.clip(np.array(curve, dtype=float), 0.0, 1.0)
            axes.plot(known["times_s"], values, style, color=colour, label=f"{what}, {LABELS[name]}")
    axes.set(xscale="log", ylim=(0, 1), xlabel="s since the start", ylabel="R² on airframes not fitted",
             title="What the hidden state tells, by a linear probe")  # fmt: skip
    axes.legend(frameon=False, fontsize=7, ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.14))


def _scores(axes: Any, students: Sequence[Mapping[str, Any]], key: str, label: str) -> None:
    for colour, test in zip(_CYCLE, ABLATION_TESTS, strict=True):
        x, y = [s[key] for s in students], [1000.0 * s[test]["rmse"] for s in students]
        axes.plot(x, y, "o", color=colour, label=test)
    axes.set_xscale("log", base=2)
    values = sorted({s[key] for s in students})
    axes.set_xticks(values, [str(v) for v in values])
    axes.set(yscale="log", xlabel=label, ylabel="RMSE, mm, each loss 1 m", title=f"Students by {label}")
    axes.legend(frameon=False, fontsize=8, ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.14))

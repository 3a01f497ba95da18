"""Picture of a report of ``bench links``: a driver's time, eights through links, links that a machine holds."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.foundation_picture import COLOURS, blank, tidy

_FLEET = re.compile(r"crazyflie, (\d+) links of one process to one emulator process")


def draw(report: Mapping[str, Any], path: Path) -> Path:
    """Three panels; peers beside ours."""
    rows = report["rows"]
    figure = blank(15.0, 4.6)
    left, middle, right = figure.subplots(1, 3)
    tidy(left, middle, right)
    _driver(left, rows)
    _eights(middle, rows)
    _fleet(right, rows)
    figure.suptitle("Emulated links on this machine: emulator and client share its cores", x=0.01, ha="left")
    figure.savefig(path)
    return path


def _driver(axes: Any, rows: list[dict[str, Any]]) -> None:
    found = [row for row in rows if row["metric"].startswith("controller output to bytes on the wire")]
    labels = [f"{row['test'].split(',')[0]}\n{row['metric'].split()[-1]}" for row in found]
    for k, row in enumerate(found):
        axes.bar(k - 0.2, row["value"], 0.38, color=COLOURS["ours"], label="this driver" if k == 0 else None)
        axes.bar(k + 0.2, row["peer"], 0.38, color=COLOURS["peer"], label="vendor's library alone" if k == 0 else None)
    axes.set_xticks(range(len(found)), labels)
    axes.set_ylabel("ms")
    axes.set_title("Controller's output to bytes on the wire (p99 asked: < 1 ms)", fontsize="medium")
    axes.legend(frameon=False)


def _eights(axes: Any, rows: list[dict[str, Any]]) -> None:
    found = [row for row in rows if row["metric"] == "RMSE over the direct simulator's"]
    names = [re.sub(r", eight at (\w+) over.*", r"\n\1", row["test"]) for row in found]
    axes.bar(range(len(found)), [row["value"] for row in found], 0.6, color=COLOURS["ours"])
    axes.axhline(1.0, color="black", linewidth=0.8)
    axes.axhline(1.5, color=COLOURS["peer"], linewidth=1.2, linestyle="--")
    axes.set_xticks(range(len(found)), names, fontsize="small")
    axes.set_title("Figure-eight: RMSE through the link over without (asked: <= 1.5)", fontsize="medium")


def _fleet(axes: Any, rows: list[dict[str, Any]]) -> None:
    for metric, style in (("state rate, slowest link", "o-"), ("setpoint rate", "s:")):
        found = [(int(m[1]), row) for row in rows if (m := _FLEET.match(row["test"])) and row["metric"] == metric]
        counts = [count for count, _ in found]
        axes.plot(counts, [row["value"] for _, row in found], style, color=COLOURS["ours"], label=f"{metric}")
        if all(row["peer"] is not None for _, row in found):
            label = f"{metric}, cflib alone"
            axes.plot(counts, [row["peer"] for _, row in found], style, color=COLOURS["peer"], alpha=0.7, label=label)
    axes.set_ylim(0.0, 55.0)
    axes.set_xlabel("Crazyflie links of one process")
    axes.set_ylabel("Hz")
    axes.set_title("50 Hz both ways", fontsize="medium")
    axes.legend(frameon=False, fontsize="small", loc="lower left")

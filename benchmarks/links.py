"""The links to vehicles, against emulated ones: control-stack bench links [--quick] [--json FILE].

Figures are of this machine: emulator and client share its cores, and the emulator's own work counts. Groups run one
after another; for the targets of time the machine should do nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import link_fleet, link_loop
from benchmarks.served_links import served
from benchmarks.sim import fly
from control_stack.artefacts.tables import BenchRow
from hardware.factory import BACKENDS

RATIO = "<= 1.5"
_SETPOINTS = Path(__file__).with_name("link_controllers.py")
# Level: options that fly it.
LEVELS = {
    "ctbr": ("--level", "ctbr"),
    "attitude": ("--level", "attitude"),
    "velocity": ("--controller", f"{_SETPOINTS}:VelocitySetpoints"),
    "position": ("--controller", f"{_SETPOINTS}:PositionSetpoints"),
}


def eight(kind: str, seed: int, quick: bool) -> list[BenchRow]:
    """The figure-eight through a link, beside the analytic simulator without one, level by level."""
    rows = []
    flight = ("--no-ros", "--vehicle", BACKENDS[kind].vehicle, "--trajectory", "eight:laps=1" if quick else "eight")
    for level in ("ctbr", "attitude") if quick else LEVELS:
        direct = fly(*flight, "--backend", "analytic", *LEVELS[level])
        with served(kind, seed=seed) as server:
            linked = fly(*flight, "--backend", kind, "--uri", server.uris[0], "--arm", *LEVELS[level])
        own, plain = (summary["position_rmse_m"] for summary in (linked, direct))
        test = f"{kind}, eight at {level} over the emulated link"
        rows.append(BenchRow(test, "RMSE, peer: the direct simulator", own, "m", None, plain))
        rows.append(BenchRow(test, "RMSE over the direct simulator's", own / plain, "1", RATIO))
        for q in ("p50", "p99"):
            rows.append(BenchRow(test, f"loop period {q}", 1e3 * linked[f"loop_period_{q}_s"], "ms"))
    return rows


GROUPS: dict[str, Callable[[int, bool], list[BenchRow]]] = {
    **{f"{kind} loop": partial(link_loop.measure, kind) for kind in BACKENDS},
    **{f"{kind} eight": partial(eight, kind) for kind in BACKENDS},
    "crazyflie fleet": link_fleet.measure,
}


def finish(report: dict[str, Any], target: Path | None) -> None:
    """Draws the picture beside the report."""
    from benchmarks.link_picture import draw

    if target is not None:
        print(f"picture: {draw(report, target.with_suffix('.png'))}")

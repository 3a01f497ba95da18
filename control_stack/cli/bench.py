"""control-stack bench NAME: measures, prints a table, writes JSON; exits 0 when it ran, whatever it found."""

from __future__ import annotations

import argparse
import importlib
import json
import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from types import ModuleType
from typing import Any

from tqdm import tqdm

from control_stack.artefacts.runs import git_revision, write_json
from control_stack.artefacts.tables import BenchRow, Findings, bench_report
from control_stack.cli.arguments import check_seed, output_file
from control_stack.errors import InvalidInput

NAMES = {
    "sim": "simulators, geometric controller, ROS loops",
    "foundation": "the foundation policy beside the released one",
    "links": "drivers, loops and fleets over the emulated links",
    "nmpc": "nonlinear MPC of the quadrotor, beside the geometric controller and do-mpc",
    "mip": "planning through thin ReLU nets beside samplers and OMLT",
    "arm": "an arm under changing loads: NMPC with a learned Lagrangian model beside rivals",
    "lipschitz": "certified models and their bounds, safety filter, crossing, gp_cem, imitation",
}
# Takes seed and whether to be quick.
Group = Callable[[int, bool], list[BenchRow] | Findings]
# Options of one benchmark.
_OWN = {"foundation": ("weights", "teachers", "ablation"), "mip": ("fits", "tasks"), "arm": ("models",)}


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Adds the command to the front door."""
    parser = commands.add_parser(
        "bench",
        help="measure speed and quality; writes rows with targets and peers",
        description=__doc__,
        epilog="Groups of rows that are already in FILE.partial (same seed, mode and revision) are not measured again.",
    )
    parser.add_argument("name", choices=NAMES, help="; ".join(f"{name}: {what}" for name, what in NAMES.items()))
    parser.add_argument("--json", metavar="FILE", help="where to write the rows; a picture, if any, goes beside it")
    parser.add_argument("--quick", action="store_true", help="within 5 minutes, for CI")
    parser.add_argument("--seed", type=int, default=0, help="of gusts, noise and random states (default 0)")
    only = parser.add_argument_group("bench foundation")
    only.add_argument("--weights", metavar="FILE", help=".safetensors with its card (default: the shipped weights)")
    only.add_argument("--teachers", metavar="DIR", help="their output folder, for a column of what they reach")
    only.add_argument("--ablation", metavar="DIR", help="weights files of other students to score")
    only = parser.add_argument_group("bench mip")
    only.add_argument("--fits", metavar="DIR", help="folders of control-stack fit sparse, one or more for each task")
    only.add_argument("--tasks", nargs="+", metavar="NAME", help="those to measure (default: all that have a fit; with "
                      "--quick two of them)")  # fmt: skip
    only = parser.add_argument_group("bench arm")
    only.add_argument("--models", nargs="+", metavar="PATH", help="fits of the Panda: one for each seed of training, "
                      "black boxes, oracle or no context, other structures (default: those that ship)")  # fmt: skip
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Measures the groups one after another, so that none disturbs another's times."""
    check_seed(options.seed)
    target = output_file("--json", options.json) if options.json is not None else None
    for owner, names in _OWN.items():
        for name in names:
            if getattr(options, name) is not None and options.name != owner:
                raise InvalidInput(f"--{name} belongs to 'bench {owner}'")
    given = {name: getattr(options, name) for name in _OWN.get(options.name, ())}
    source = _module(options.name)
    key = {"seed": options.seed, "quick": options.quick, "git_revision": git_revision(), **given}
    if hasattr(source, "identity"):
        key |= source.identity(**given)
    partial = target.with_name(target.name + ".partial") if target else None
    parts = target.with_name(target.name + ".parts") if target else None
    chosen = _groups(options.name, options, parts, key)
    done = _resume(partial, key)
    with tqdm(total=len(chosen), file=sys.stderr, desc=f"bench {options.name}", leave=False) as bar:
        for name, measure in chosen.items():
            bar.set_postfix_str(name)
            if name not in done:
                found = measure(options.seed, options.quick)
                done[name] = found if isinstance(found, Findings) else Findings(found, {})
                if partial:
                    write_json(partial, {**key, "groups": {g: asdict(found) for g, found in done.items()}})
            bar.update()
    details = {name: done[name].details for name in chosen if done[name].details}
    report = bench_report([row for name in chosen for row in done[name].rows], target, options.seed, details=details)
    if hasattr(source, "finish"):
        source.finish(report, target)
    if partial and parts:
        partial.unlink(missing_ok=True)
        parts.unlink(missing_ok=True)
    return 0


def _module(name: str) -> ModuleType:
    root = Path(__file__).resolve().parents[2]
    if not (root / "benchmarks" / f"{name}.py").is_file():
        raise InvalidInput("benchmarks come with the source tree, not with the wheel: run this in a clone")
    if str(root) not in sys.path:
        sys.path.insert(0, str(root))
    return importlib.import_module(f"benchmarks.{name}")


def _groups(
    name: str, options: argparse.Namespace, parts: Path | None = None, key: Mapping[str, Any] | None = None
) -> dict[str, Group]:  # fmt: skip
    module = _module(name)
    given = {own: getattr(options, own) for own in _OWN.get(name, ())}
    if name in ("mip", "arm", "nmpc", "lipschitz"):  # those whose groups take long enough to go on within
        return module.groups(**given, parts=parts, key=key or {})
    return module.groups(**given) if given else module.GROUPS


def _resume(partial: Path | None, key: dict) -> dict[str, Findings]:
    """Groups that an interrupted run with the same seed, mode and revision has measured."""
    if partial is None or not partial.is_file():
        return {}
    try:
        stored = json.loads(partial.read_text(encoding="utf-8"))
        if {name: stored[name] for name in key} != key:
            return {}
        return {
            name: Findings([_row(row) for row in found["rows"]], found["details"])
            for name, found in stored["groups"].items()
        }
    except (ValueError, KeyError, TypeError):
        return {}


def _row(stored: dict[str, Any]) -> BenchRow:
    value = stored["value"]
    return BenchRow(**{**stored, "value": math.nan if value is None else value})  # JSON knows no NaN

"""control-stack bench NAME: measures, prints a table, writes JSON; exits 0 when it ran, whatever it found."""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from tqdm import tqdm

from control_stack.artefacts.runs import git_revision, write_json
from control_stack.artefacts.tables import BenchRow, bench_report
from control_stack.cli.arguments import check_seed, output_file
from control_stack.errors import InvalidInput

NAMES = ("sim",)
Group = Callable[[int, bool], list[BenchRow]]


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Adds the command to the front door."""
    parser = commands.add_parser(
        "bench",
        help="measure speed and quality; writes rows with targets and peers",
        description=__doc__,
        epilog="Groups of rows that are already in FILE.partial (same seed, mode and revision) are not measured again.",
    )
    parser.add_argument("name", choices=NAMES, help="sim: simulators, geometric controller, ROS loops")
    parser.add_argument("--json", metavar="FILE", help="where to write the rows")
    parser.add_argument("--quick", action="store_true", help="within 5 minutes, for CI")
    parser.add_argument("--seed", type=int, default=0, help="of gusts, noise and random states (default 0)")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Measures the groups one after another, so that none disturbs another's times."""
    check_seed(options.seed)
    target = output_file("--json", options.json) if options.json is not None else None
    groups = _groups(options.name)
    partial = target.with_name(target.name + ".partial") if target else None
    key = {"seed": options.seed, "quick": options.quick, "git_revision": git_revision()}
    done = _resume(partial, key)
    with tqdm(total=len(groups), file=sys.stderr, desc=f"bench {options.name}", leave=False) as bar:
        for name, measure in groups.items():
            bar.set_postfix_str(name)
            if name not in done:
                done[name] = measure(options.seed, options.quick)
                if partial:
                    write_json(
                        partial, {**key, "groups": {g: [asdict(row) for row in rows] for g, rows in done.items()}}
                    )
            bar.update()
    bench_report([row for name in groups for row in done[name]], target, options.seed)
    if partial:
        partial.unlink(missing_ok=True)
    return 0


def _groups(name: str) -> dict[str, Group]:
    root = Path(__file__).resolve().parents[2]
    if not (root / "benchmarks" / f"{name}.py").is_file():
        raise InvalidInput("benchmarks come with the source tree, not with the wheel: run this in a clone")
    sys.path.insert(0, str(root))
    return importlib.import_module(f"benchmarks.{name}").GROUPS


def _resume(partial: Path | None, key: dict) -> dict[str, list[BenchRow]]:
    """Groups that an interrupted run with the same seed, mode and revision has measured."""
    if partial is None or not partial.is_file():
        return {}
    try:
        found = json.loads(partial.read_text(encoding="utf-8"))
        if {name: found[name] for name in key} != key:
            return {}
        return {name: [BenchRow(**row) for row in rows] for name, rows in found["groups"].items()}
    except (ValueError, KeyError, TypeError):
        return {}

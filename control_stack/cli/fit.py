"""control-stack fit sparse: learns ReLU dynamics from data and thins them until a planner can search through them.

DIR gets model.safetensors with its card model.json, ladder.png, summary.json, and the net of every rung. Stopped or
killed, the same command goes on where it was.
"""

from __future__ import annotations

import argparse
import shlex
from typing import Any

from control_stack.artefacts.tables import table
from control_stack.cli.arguments import check_seed, output_folder
from control_stack.cli.training import LossBars, load_torch, resumable

_KINDS = "Learns a model of dynamics from data: control-stack fit KIND --help tells of each kind."
METHODS = ("gates", "replace", "lasso", "granet", "lottery", "bilevel", "dense", "scratch")


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Adds the command to the front door, with a kind of model each."""
    from control_stack.cli import fit_lagrangian, fit_lipschitz, fit_margin, fit_residual

    fit = commands.add_parser("fit", help="learn a model of dynamics from data", description=_KINDS)
    kinds = fit.add_subparsers(dest="what", required=True, metavar="KIND")
    fit_residual.add_parser(kinds)
    fit_margin.add_parser(kinds)
    fit_lipschitz.add_parser(kinds)
    fit_lagrangian.add_parser(kinds)
    parser = kinds.add_parser("sparse", help="ReLU dynamics that a planner can search through", description=__doc__)
    parser.add_argument("data", metavar="DATA", help="folder of control-stack collect, a .safetensors or a .csv")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder of the fit: new, or to be gone on with")
    parser.add_argument(
        "--method", nargs="+", choices=METHODS, default=["gates"], metavar="NAME",
        help="how the net is thinned, then rivals to compare (default gates); " + ", ".join(METHODS),
    )  # fmt: skip
    parser.add_argument("--relus", type=int, default=16, metavar="N", help="of the model (default 16)")
    parser.add_argument(
        "--budget-ladder", nargs="+", type=int, metavar="N",
        help="ReLUs on the way there, falling (default 576 450 256 128 64 48 32 24 16 8)",
    )  # fmt: skip
    parser.add_argument(
        "--objects", default="", metavar="NAME",
        help="share weights over the objects NAME_0, NAME_1, ... of the state: a graph net, the same for any order",
    )  # fmt: skip
    parser.add_argument(
        "--updates", type=float, default=1.0, metavar="FACTOR", help="times the usual number of updates (default 1)"
    )
    parser.add_argument("--near", metavar="DATA", help="trajectories that count most, such as a planner's own")
    parser.add_argument(
        "--bounds", choices=("lp", "mip"),
        help="keep bounds on the ReLUs with the model, by linear programs or exact ones; needs the extra mip",
    )  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, help="of everything (default 0)")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Fits; returns the exit code."""
    from control_stack.learning.data import load

    check_seed(options.seed)
    folder = output_folder(options.out)
    data = load(options.data)
    near = None if options.near is None else load(options.near)
    load_torch()

    from control_stack.learning.sparsify.ladder import Fit
    from control_stack.learning.sparsify.recipe import LADDER, Recipe

    ladder = tuple(options.budget_ladder or LADDER)
    recipe = Recipe(
        methods=tuple(dict.fromkeys(options.method)), ladder=ladder, relus=options.relus, objects=options.objects,
        seed=options.seed, hidden_layers=1 if options.objects else 2,
    ).scaled(options.updates)  # fmt: skip
    bounds = options.bounds or ""
    with resumable(folder), LossBars() as bars, Fit(folder, recipe, data, bars, _command(options), near, bounds) as fit:
        summary = fit.run()
    _print(summary)
    print(f"model: {folder / 'model.safetensors'} ({summary['model_relus']} ReLUs)")
    return 0


def _command(options: argparse.Namespace) -> str:
    """What fits the same again, into a folder of another name."""
    words = ["control-stack", "fit", "sparse", "DATA", "--out", "DIR", "--method", *options.method]
    words += ["--relus", str(options.relus), "--seed", str(options.seed)]
    words += ["--budget-ladder", *map(str, options.budget_ladder)] if options.budget_ladder else []
    words += ["--objects", options.objects] if options.objects else []
    words += ["--updates", f"{options.updates:g}"] if options.updates != 1.0 else []
    words += ["--bounds", options.bounds] if options.bounds else []
    return shlex.join(words + (["--near", "DATA"] if options.near is not None else []))


def _print(summary: dict[str, Any]) -> None:
    rows = []
    for method, rungs in summary["rungs"].items():
        for rung in rungs.values():
            ahead = rung["test"]["rmse"]
            five = ahead[4] if len(ahead) > 4 else None
            rows.append((method, rung["relus"], rung["linear_units"], ahead[0], five, rung["wall_s"]))
    print(table(rows, ("method", "ReLUs", "linear", "1 step", "5 steps", "s")))
    print("errors: RMSE on the test episodes over the standard deviation of a change in one step")

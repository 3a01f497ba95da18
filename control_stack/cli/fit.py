"""control-stack fit sparse: learns ReLU dynamics from data and thins them until a planner can search through them.

DIR gets model.safetensors with its card model.json, ladder.png, summary.json, and the net of every rung. Stopped or
killed, the same command goes on where it was.
"""

from __future__ import annotations

import argparse
import importlib.util
import shlex
import sys
from pathlib import Path
from typing import Any

from tqdm import tqdm

from control_stack.artefacts.tables import table
from control_stack.cli.arguments import check_seed
from control_stack.errors import InvalidInput, MissingDependency, TrainingAborted

EXIT_ABORTED = 1
_KINDS = "Learns a model of dynamics from data: control-stack fit KIND --help tells of each kind."
METHODS = ("gates", "replace", "lasso", "granet", "lottery", "bilevel", "dense", "scratch")


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Adds the command to the front door, with a kind of model each."""
    from control_stack.cli import fit_lagrangian, fit_lipschitz, fit_residual

    fit = commands.add_parser("fit", help="learn a model of dynamics from data", description=_KINDS)
    kinds = fit.add_subparsers(dest="what", required=True, metavar="KIND")
    fit_residual.add_parser(kinds)
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
    parser.add_argument("--seed", type=int, default=0, help="of everything (default 0)")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Fits; returns the exit code."""
    from control_stack.learning.data import load

    check_seed(options.seed)
    if not options.out:
        raise InvalidInput("--out needs a folder, got an empty name")
    data = load(options.data)
    near = None if options.near is None else load(options.near)
    if importlib.util.find_spec("torch") is None:
        raise MissingDependency("torch", "learn")
    import torch

    from control_stack.learning.sparsify.ladder import Fit
    from control_stack.learning.sparsify.recipe import LADDER, Recipe

    ladder = tuple(options.budget_ladder or LADDER)
    recipe = Recipe(
        methods=tuple(dict.fromkeys(options.method)), ladder=ladder, relus=options.relus, objects=options.objects,
        seed=options.seed, hidden_layers=1 if options.objects else 2,
    ).scaled(options.updates)  # fmt: skip
    torch.set_num_threads(1)  # small products are slower on more; fits of other seeds may take the other cores
    folder = Path(options.out)
    with Bars() as bars, Fit(folder, recipe, data, bars, _command(options), near) as fit:
        try:
            summary = fit.run()
        except TrainingAborted as error:
            bars.close()
            print(f"aborted: {error}", file=sys.stderr)
            return EXIT_ABORTED
        except KeyboardInterrupt:
            bars.close()
            print(f"{shlex.quote(str(folder))} is gone on with by the same command", file=sys.stderr)
            raise
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
    return shlex.join(words + (["--near", "DATA"] if options.near is not None else []))


class Bars:
    """One progress bar after the other, a rung each, with the loss."""

    def __init__(self) -> None:
        self._bar: Any = None
        self._rung = ""
        self._loss = float("nan")

    def __enter__(self) -> Bars:
        return self

    def __exit__(self, *details: object) -> None:
        self.close()

    def __call__(self, rung: str, done: int, total: int, loss: float) -> None:
        """Shows an update of a rung."""
        if rung != self._rung or self._bar is None:
            self.close()
            self._rung, self._loss = rung, loss
            # Without a terminal a line is written now and then, for logs.
            interval = 0.5 if sys.stderr.isatty() else 60.0
            self._bar = tqdm(
                total=total, desc=f"{rung:<12}", unit="update", file=sys.stderr,
                mininterval=interval, maxinterval=2.0 * interval, dynamic_ncols=True,
            )  # fmt: skip
        self._loss = 0.95 * self._loss + 0.05 * loss
        self._bar.set_postfix_str(f"loss {self._loss:.5f}", refresh=False)
        self._bar.update(done - self._bar.n)

    def close(self) -> None:
        """Ends the bar that is shown."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def _print(summary: dict[str, Any]) -> None:
    rows = []
    for method, rungs in summary["rungs"].items():
        for rung in rungs.values():
            ahead = rung["test"]["rmse"]
            five = ahead[4] if len(ahead) > 4 else None
            rows.append((method, rung["relus"], rung["linear_units"], ahead[0], five, rung["wall_s"]))
    print(table(rows, ("method", "ReLUs", "linear", "1 step", "5 steps", "s")))
    print("errors: RMSE on the test episodes over the standard deviation of a change in one step")

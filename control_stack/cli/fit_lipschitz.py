"""control-stack fit lipschitz: learns dynamics whose Lipschitz constant is proved.

DIR gets model.safetensors with its card model.json, slopes.png and summary.json. The proof lies in the model: it is
checked again whenever that is loaded. Stopped or killed, the same command goes on where it was.
"""

from __future__ import annotations

import argparse
import math
import shlex
from typing import Any

from control_stack.artefacts.tables import table
from control_stack.cli.arguments import check_seed, output_folder
from control_stack.cli.training import LossBars, load_torch, resumable

METHODS = ("sandwich", "spectral", "penalty", "free")


def add_parser(kinds: argparse._SubParsersAction) -> None:
    """Adds the kind of model to ``control-stack fit``."""
    parser = kinds.add_parser("lipschitz", help="dynamics whose Lipschitz constant is proved", description=__doc__)
    parser.add_argument("data", metavar="DATA", help="folder of control-stack collect, a .safetensors or a .csv")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder of the fit: new, or to be gone on with")
    parser.add_argument(
        "--method", choices=METHODS, default="sandwich",
        help="sandwich: constant by construction (default); spectral: product of norms; penalty: on sampled slopes; "
        "free: none. All get the least constant that can be proved for them",
    )  # fmt: skip
    parser.add_argument(
        "--gamma", type=float, metavar="G",
        help="constant of g, channels scaled by their standard deviations (default: learned)",
    )  # fmt: skip
    parser.add_argument(
        "--nominal", choices=["identity", "linear"], default="identity",
        help="identity: x+ = x + dt g (default); linear: g on top of an affine step by least squares",
    )  # fmt: skip
    parser.add_argument(
        "--parameters",
        nargs="+",
        default=[],
        metavar="NAME",
        help="inputs of the data that are not commands: they are p",
    )
    parser.add_argument("--widths", nargs="+", type=int, default=[32, 32], metavar="N", help="hidden layers (32 32)")
    parser.add_argument("--activation", choices=["relu", "tanh"], default="relu", help="default relu")
    parser.add_argument("--updates", type=int, default=6000, metavar="N", help="steps of training (default 6000)")
    parser.add_argument("--seed", type=int, default=0, help="of everything (default 0)")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Fits; returns the exit code."""
    from control_stack.learning.data import load

    check_seed(options.seed)
    folder = output_folder(options.out)
    data = load(options.data)
    load_torch()

    from control_stack.learning.lipschitz.fit import Fit
    from control_stack.learning.lipschitz.fitting import Recipe

    recipe = Recipe(
        method=options.method, gamma=options.gamma, widths=tuple(options.widths), activation=options.activation,
        updates=options.updates, seed=options.seed,
    )  # fmt: skip
    with resumable(folder), LossBars() as bars:

        def report(done: int, loss: float) -> None:
            bars(options.method, done, recipe.updates, loss)

        with Fit(folder, recipe, data, options.nominal, options.parameters, report, _command(options)) as fit:
            summary = fit.run()
    _print(summary)
    print(f"model: {folder / 'model.safetensors'}")
    return 0


def _command(options: argparse.Namespace) -> str:
    """What fits the same again, into a folder of another name."""
    words = ["control-stack", "fit", "lipschitz", "DATA", "--out", "DIR", "--method", options.method]
    words += ["--gamma", f"{options.gamma!r}"] if options.gamma is not None else []
    words += ["--nominal", options.nominal, "--activation", options.activation]
    words += ["--widths", *map(str, options.widths), "--updates", str(options.updates), "--seed", str(options.seed)]
    return shlex.join(words + (["--parameters", *options.parameters] if options.parameters else []))


def _print(summary: dict[str, Any]) -> None:
    gamma, slope = summary["gamma"], summary["largest_slope_found"]
    ratio = gamma / slope if slope else math.inf
    print(
        table(
            [
                ("gamma, proved", gamma),
                ("steepest slope found", slope),
                ("gamma over it", ratio),
                ("error of g on the test episodes", summary["scaled_error"]["test"]),
            ]
        )
    )
    print("slopes and errors: channels over their scales, which stand in model.json")

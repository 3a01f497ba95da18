"""control-stack fit lagrangian: learns an arm's dynamics under loads and friction that change, and to tell them.

DIR gets model.safetensors with its card model.json, fit.png and summary.json. The model's parameters are a context that
its own estimator finds while the arm moves. Stopped or killed, the same command goes on where it was.
"""

from __future__ import annotations

import argparse
import math
import shlex
from pathlib import Path

from control_stack.artefacts.tables import table
from control_stack.cli.arguments import check_seed, output_folder
from control_stack.cli.training import Bars, load_torch, resumable

STRUCTURES = ("flange", "factor", "sum", "full", "mlp", "mlp-rates")
CONTEXTS = ("filter", "gru", "oracle", "none")
_ROUNDS, _CONTEXTS = 150, 18


def add_parser(kinds: argparse._SubParsersAction) -> None:
    """Adds the kind of model to ``control-stack fit``."""
    parser = kinds.add_parser("lagrangian", help="an arm whose load and friction change", description=__doc__)
    add = parser.add_argument
    add(
        "data",
        metavar="DATA",
        help="folder of control-stack collect arm, or an .mcap log (or folder of such) of an arm",
    )
    add("--out", required=True, metavar="DIR", help="folder of the fit: new, or to be gone on with")
    add(
        "--arm", metavar="NAME|FILE", help="nominal arm (default: that of the data, or the shipped one with its joints)"
    )
    add(
        "--structure", choices=STRUCTURES, default="flange",
        help="flange: energies of what rides on the flange, on the nominal arm (default); factor: (L + dL)(L + dL)^T; "
        "sum: H + H_res; full: no nominal arm; mlp, mlp-rates: black-box torques "
        "on the nominal arm, with and without accelerations, to compare with",
    )  # fmt: skip
    add(
        "--context", choices=CONTEXTS, default=None,
        help="filter: a GRU that steers a Kalman filter (default of flange); gru: a GRU (of the others); "
        "oracle: the simulation's loads; none",
    )  # fmt: skip
    add("--contexts", type=int, default=_CONTEXTS, metavar="N", help=f"numbers in the context (default {_CONTEXTS})")
    add("--rounds", type=int, default=_ROUNDS, metavar="N", help=f"passes over a batch of episodes (default {_ROUNDS})")
    add("--seed", type=int, default=0, help="of everything (default 0)")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Fits; returns the exit code."""
    from control_stack.learning.data import load

    check_seed(options.seed)
    folder = output_folder(options.out)
    data = load(options.data)
    load_torch()

    from control_stack.learning.lagrangian.evaluate import summary_rows
    from control_stack.learning.lagrangian.fit import Fit, arm_of
    from control_stack.learning.lagrangian.recipe import BLACK_BOX, Recipe
    from control_stack.learning.lagrangian.structures import BLACK_BOXES

    arm = arm_of(data, options.arm)
    context = options.context or ("filter" if options.structure == "flange" else "gru")
    recipe = Recipe(
        structure=options.structure, context=context, contexts=options.contexts, rounds=options.rounds,
        seed=options.seed, **(BLACK_BOX if options.structure in BLACK_BOXES else {}),
    )  # fmt: skip
    source = Path(options.data)
    where = source if source.is_dir() else source.parent
    with resumable(folder), Bars("round") as bars:

        def report(done: int, loss: float) -> None:
            bars.show("fit lagrangian", done, recipe.rounds, f"loss {loss:.4f}" if math.isfinite(loss) else "")

        with Fit(folder, recipe, data, arm, where, report, _command(options, context)) as fit:
            summary = fit.run()
    print(table(summary_rows(summary["figures"]["test"]), ("held-out episodes", "nominal", "model")))
    print(f"model: {folder / 'model.safetensors'} ({arm.name}, {recipe.structure}, context by {recipe.context})")
    return 0


def _command(options: argparse.Namespace, context: str) -> str:
    """What fits the same again, into a folder of another name."""
    words = ["control-stack", "fit", "lagrangian", "DATA", "--out", "DIR", "--structure", options.structure]
    words += ["--context", context, "--contexts", str(options.contexts), "--rounds", str(options.rounds)]
    words += ["--seed", str(options.seed)] + (["--arm", options.arm] if options.arm is not None else [])
    return shlex.join(words)

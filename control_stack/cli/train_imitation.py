"""control-stack train imitation: experts, their demonstrations, and learners that imitate them.

All arms and seeds learn in one program: behavioural cloning, adversarial imitation with the discriminator left free,
held by spectral norm, by a gradient penalty, or by both, and a constant reward as control. Stopped or killed, the same
command goes on where it was.
"""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path
from typing import Any

from control_stack.artefacts.tables import table
from control_stack.cli.arguments import check_seed, output_folder
from control_stack.cli.training import Bars, load_torch, resumable
from control_stack.errors import InvalidInput

TASKS = ("pendulum", "hopper", "quadrotor")
EXPERTS = ("foundation", "nmpc")
ARMS = ("cloning", "none", "spectral", "penalty", "both", "constant")


def add_parser(kinds: argparse._SubParsersAction) -> None:
    """Adds what is trained to ``control-stack train``."""
    parser = kinds.add_parser("imitation", help="learners that imitate an expert", description=__doc__)
    parser.add_argument("--task", choices=TASKS, required=True, help="what is imitated")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder of the study: new, or to be gone on with")
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS), metavar="ARM", help=", ".join(ARMS))
    parser.add_argument("--seeds", type=int, default=5, metavar="N", help="learners of each arm (default 5)")
    parser.add_argument("--seed", type=int, default=0, help="the first one; of the expert too (default 0)")
    parser.add_argument("--steps", type=int, metavar="N", help="of each learner in its task (default: the task's own)")
    parser.add_argument("--demonstrations", metavar="FILE", help="imitate these instead of making an expert")
    parser.add_argument(
        "--expert", choices=EXPERTS,
        help="of the quadrotor: the shipped foundation policy (default), or NMPC, which needs the extra mpc",
    )  # fmt: skip
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Trains; returns the exit code."""
    check_seed(options.seed)
    folder = output_folder(options.out)
    load_torch()

    from control_stack.learning.imitation.study import Study

    shown = Path(options.demonstrations) if options.demonstrations is not None else None
    if options.expert is not None and (options.task != "quadrotor" or shown is not None):
        raise InvalidInput("--expert belongs to --task quadrotor, and not beside --demonstrations")
    expert = None
    if options.expert == "nmpc":
        from control_stack.quadrotor.symbolic import import_casadi

        import_casadi()
        from controllers.nmpc.demonstrator import WHAT, nmpc_expert

        expert = WHAT, nmpc_expert
    with (
        resumable(folder),
        Bars("step", 8) as bars,
        Study(folder, options.task, options.arms, options.seed, options.seeds, options.steps, shown, bars.show,
              _command(options), expert) as study,
    ):  # fmt: skip
        summary = study.run()
    _print(summary)
    print(f"policies: {folder / 'policies.safetensors'}")
    return 0


def _command(options: argparse.Namespace) -> str:
    """What trains the same again, into a folder of another name."""
    words = ["control-stack", "train", "imitation", "--task", options.task, "--out", "DIR"]
    words += ["--arms", *options.arms] if set(options.arms) != set(ARMS) else []
    words += ["--seeds", str(options.seeds), "--seed", str(options.seed)]
    words += ["--steps", str(options.steps)] if options.steps is not None else []
    words += ["--expert", options.expert] if options.expert is not None else []
    return shlex.join(words + (["--demonstrations", "FILE"] if options.demonstrations is not None else []))


def _print(summary: dict[str, Any]) -> None:
    rows = []
    for arm, found in summary["arms"].items():
        low, high = found["interval"] or (None, None)
        rows.append((arm, found["score"], low, high, len(found["seeds"])))
    print(table(rows, ("arm", "score", "95 % from", "to", "seeds")))
    shown = summary["demonstrations"]
    print(f"0: chance, a return of {shown['chance']:.4g}; 1: the expert, {shown['expert']:.4g}")

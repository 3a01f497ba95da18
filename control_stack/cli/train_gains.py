"""control-stack train gains: trains the network that adapts barrier gains where eight vehicles cross.

Weights are written when the training ends; it takes minutes and cannot be resumed.
"""

from __future__ import annotations

import argparse
import platform
import time
from pathlib import Path

from control_stack.artefacts.runs import provenance
from control_stack.cli.arguments import check_seed
from control_stack.errors import InvalidInput


def add_parser(kinds: argparse._SubParsersAction) -> None:
    """Adds the command to ``control-stack train``."""
    parser = kinds.add_parser(
        "gains", help="gains of safety filters, adapted where vehicles cross", description=__doc__
    )
    parser.add_argument("--out", required=True, metavar="FILE.safetensors", help="weights to write; their card beside")
    parser.add_argument("--seed", type=int, default=0, help="of everything (default 0)")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Trains and writes; returns the exit code."""
    from control_stack.artefacts.tensors import weights_path
    from control_stack.safety.crossing.gains import save
    from control_stack.safety.crossing.setting import Crossing
    from control_stack.safety.crossing.training import train

    check_seed(options.seed)
    path = weights_path(options.out)
    if not Path(path).resolve().parent.is_dir():
        raise InvalidInput(f"--out {path}: there is no folder {Path(path).parent}")
    began, crossing = time.monotonic(), Crossing()
    weights = train(
        options.seed, crossing=crossing, told=lambda k, score: print(f"round {k}: best score {score:.3f}", flush=True)
    )
    training = {
        "command": f"control-stack train gains --out {path.name} --seed {options.seed}",
        "seed": options.seed,
        "git_revision": provenance()["git_revision"],
        "wall_time_s": round(time.monotonic() - began, 1),
        "hardware": platform.machine(),
    }
    save(path, weights, training, crossing)
    print(f"weights: {path}")
    return 0

"""control-stack export foundation: writes the policy in the format of another program."""

from __future__ import annotations

import argparse
from pathlib import Path

from control_stack.errors import InvalidInput


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Adds the command with its options."""
    parser = commands.add_parser(
        "export",
        help="write the foundation policy for firmware and other programs",
        description=__doc__,
        epilog="hdf5: rl-tools checkpoint, as RAPTOR is published; px4: policy.tar of PX4's mc_raptor; "
        "onnx: graph of one step; c: C99 header; safetensors: weights and card",
    )
    parser.add_argument("what", choices=["foundation"], help="the policy")
    parser.add_argument("--format", required=True, choices=["hdf5", "px4", "onnx", "c", "safetensors"])
    parser.add_argument("--out", required=True, metavar="PATH", help="file to write; an older one is replaced")
    parser.add_argument("--weights", metavar="PATH", help="a .safetensors of your own (default: the shipped weights)")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Exports; returns the exit code."""
    from control_stack.foundation.export import export
    from control_stack.foundation.runtime import GRUPolicy

    if options.weights is not None and Path(options.weights).resolve() == Path(options.out).resolve():
        raise InvalidInput(f"--out {options.out}: would replace the weights that it is made from")
    policy = GRUPolicy.load(options.weights)
    path = export(policy, options.format, options.out)
    print(f"{path}: {policy.weights.count} numbers, hidden width {policy.hidden_size}, as {options.format}")
    return 0

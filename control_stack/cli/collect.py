"""control-stack collect TASK: simulates episodes of a task and stores them as a data set to learn from.

DIR gets data.safetensors with its card data.json, and picture.png. Stopped or killed, the same command goes on where
it was; neither that nor --workers changes a bit of the data.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path

from tqdm import tqdm

from control_stack.artefacts.tables import table
from control_stack.cli.arguments import check_seed
from control_stack.errors import InvalidInput, TrainingAborted

TASKS = {
    "pushing-disc": "a disc, pushed on a table (PyBullet)",
    "pushing-box": "a box",
    "pushing-t": "a T",
    "sorting": "discs of two colours, pushed into zones",
    "rope": "a rope, pushed into shape",
    "piecewise": "a piecewise-affine map of known pieces",
    "cartpole": "a cart-pole between soft walls",
}
EXIT_ABORTED = 1
_MAX_EPISODES, _MAX_STEPS, _MAX_WORKERS = 1_000_000, 10_000, 256


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Adds the command to the front door."""
    parser = commands.add_parser(
        "collect", help="simulate episodes of a task and store them to learn from", description=__doc__
    )
    parser.add_argument("task", choices=TASKS, help="; ".join(f"{name}: {what}" for name, what in TASKS.items()))
    parser.add_argument("--episodes", type=int, default=500, metavar="N", help="default 500")
    parser.add_argument("--steps", type=int, metavar="N", help="of an episode (default 40; sorting 60, piecewise 20)")
    parser.add_argument("--seed", type=int, default=0, help="of starts and inputs (default 0)")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder of the data: new, or to be gone on with")
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="processes that simulate (default 1)")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Collects; returns the exit code."""
    from sim.tasks.collect import DEFAULT_STEPS, STEPS, Order, collect

    check_seed(options.seed)
    steps = STEPS.get(options.task, DEFAULT_STEPS) if options.steps is None else options.steps
    counts = (("episodes", options.episodes, _MAX_EPISODES), ("steps", steps, _MAX_STEPS),
              ("workers", options.workers, _MAX_WORKERS))  # fmt: skip
    for name, value, most in counts:
        if not 1 <= value <= most:
            raise InvalidInput(f"--{name} must be from 1 to {most}, got {value}")
    if not options.out:
        raise InvalidInput("--out needs a folder, got an empty name")
    order = Order(options.task, options.episodes, options.seed, steps)
    folder = Path(options.out)
    command = f"control-stack collect {order.task} --episodes {order.episodes} --steps {steps} --seed {order.seed}"
    with tqdm(
        total=order.episodes, desc=f"collect {order.task}", unit="episode", file=sys.stderr,
        mininterval=0.5 if sys.stderr.isatty() else 60.0, dynamic_ncols=True,
    ) as bar:  # fmt: skip
        try:
            found = collect(order, folder, options.workers, f"{command} --out DIR", lambda n: bar.update(n - bar.n))
        except TrainingAborted as error:
            bar.close()
            print(f"aborted: {error}", file=sys.stderr)
            return EXIT_ABORTED
        except KeyboardInterrupt:
            bar.close()
            print(f"{shlex.quote(str(folder))} is gone on with by the same command", file=sys.stderr)
            raise
    card = found.data.card
    share = card["contact_share"]
    print(table([
        ("episodes", found.data.episodes, ""),
        ("transitions", found.data.steps, ""),
        ("sample time", found.data.spec.dt, "s"),
        ("steps with contact", None if share is None else 100.0 * share, "%"),
    ]))  # fmt: skip
    print(f"{found.path}{'' if found.fresh else ' was complete already'}")
    return 0

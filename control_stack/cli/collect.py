"""control-stack collect TASK: simulates episodes of a task and stores them as a data set to learn from.

DIR gets data.safetensors with its card data.json, and picture.png. Stopped or killed, the same command goes on where
it was; neither that nor --workers changes a bit of the data.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from control_stack.artefacts.tables import table
from control_stack.cli.arguments import check_seed, output_folder
from control_stack.cli.training import Bars, resumable
from control_stack.errors import InvalidInput

TASKS = {
    "pushing-disc": "a disc, pushed on a table (PyBullet)",
    "pushing-box": "a box",
    "pushing-t": "a T",
    "sorting": "discs of two colours, pushed into zones",
    "rope": "a rope, pushed into shape",
    "piecewise": "a piecewise-affine map of known pieces",
    "cartpole": "a cart-pole between soft walls",
}
ALIASES = {"pushing": "pushing-disc"}
ARM = "arm"  # no task: there is no goal, only motion under changing loads
_MAX_EPISODES, _MAX_STEPS, _MAX_WORKERS = 1_000_000, 10_000, 256


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Adds the command to the front door."""
    parser = commands.add_parser(
        "collect", help="simulate episodes of a task and store them to learn from", description=__doc__
    )
    about = {**TASKS, ARM: "an arm under changing loads and frictions (PyBullet), for control-stack fit lagrangian"}
    told = "; ".join(f"{name}: {what}" for name, what in about.items())
    told += "".join(f"; {alias}: {name}" for alias, name in ALIASES.items())
    parser.add_argument("task", type=lambda name: ALIASES.get(name, name), choices=about, metavar="TASK", help=told)
    parser.add_argument("--arm", metavar="NAME|FILE", help="of the task arm (default panda)")
    parser.add_argument("--episodes", type=int, metavar="N", help="default 500, of an arm 280")
    parser.add_argument("--steps", type=int, metavar="N", help="of an episode (default 40; sorting 60, arm 500)")
    parser.add_argument("--seed", type=int, default=0, help="of starts and inputs (default 0)")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder of the data: new, or to be gone on with")
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="processes that simulate (default 1)")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Collects; returns the exit code."""
    check_seed(options.seed)
    folder = output_folder(options.out)
    if options.arm is not None and options.task != ARM:
        raise InvalidInput(f"--arm is of the task arm, not of {options.task}")
    order, job = _arm_job(options) if options.task == ARM else _task_job(options)
    counts = (("episodes", order.episodes, _MAX_EPISODES), ("steps", order.steps, _MAX_STEPS),
              ("workers", options.workers, _MAX_WORKERS))  # fmt: skip
    for name, value, most in counts:
        if not 1 <= value <= most:
            raise InvalidInput(f"--{name} must be from 1 to {most}, got {value}")
    command = f"control-stack collect {order.task}{f' --arm {order.arm}' if options.task == ARM else ''}"
    command += f" --episodes {order.episodes} --steps {order.steps} --seed {order.seed}"
    with resumable(folder), Bars("episode") as bars:

        def report(done: int) -> None:
            bars.show(f"collect {order.task}", done, order.episodes)

        found = job(order, folder, options.workers, f"{command} --out DIR", report)
    card = found.data.card
    rows: list[tuple[str, Any, str]] = [
        ("episodes", found.data.episodes, ""),
        ("transitions", found.data.steps, ""),
        ("sample time", found.data.spec.dt, "s"),
    ]
    if options.task == ARM:
        rows.append(("stretches of one load", card["stretches"], ""))
        rows.append(("torques at their limits, worst joint", 100.0 * max(card["saturated_share"]), "%"))
    else:
        share = card["contact_share"]
        rows.append(("steps with contact", None if share is None else 100.0 * share, "%"))
    print(table(rows))
    print(f"{found.path}{'' if found.fresh else ' was complete already'}")
    return 0


def _task_job(options: argparse.Namespace) -> tuple[Any, Callable[..., Any]]:
    from sim.tasks.collect import DEFAULT_STEPS, STEPS, Order, collect

    steps = STEPS.get(options.task, DEFAULT_STEPS) if options.steps is None else options.steps
    episodes = 500 if options.episodes is None else options.episodes
    return Order(options.task, episodes, options.seed, steps), collect


def _arm_job(options: argparse.Namespace) -> tuple[Any, Callable[..., Any]]:
    from sim.arm.collect import EPISODES, STEPS, ArmOrder, collect

    steps = STEPS if options.steps is None else options.steps
    episodes = EPISODES if options.episodes is None else options.episodes
    return ArmOrder(ARM, options.arm or "panda", episodes, options.seed, steps), collect

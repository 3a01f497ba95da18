"""What control-stack push and arm share: a run in a world whose time waits for the answer to each state."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tqdm import tqdm

from control_stack.cli.processes import NodeProgram, Nodes
from control_stack.errors import FlightAborted


@dataclass
class EpisodeOutcome:
    """What only the run itself knows."""

    interrupted: bool = False
    aborted: str | None = None
    rejections: dict[str, int] = field(default_factory=dict)


def add_run_options(parser: argparse.ArgumentParser, world: str) -> None:
    """The options that say where it runs and what it leaves."""
    add = parser.add_argument
    add("--realtime", nargs="?", const=1.0, type=float, metavar="FACTOR",
        help="follow the wall clock (times FACTOR) instead of lockstep, over ROS")  # fmt: skip
    add("--no-ros", action="store_true", help="in one process, without ROS 2")
    add("--namespace", default="", help=f"ROS namespace of the {world}")
    add("--out", metavar="DIR", help="run folder (default runs/<UTC time>)")


def bar(command: str, steps: int) -> tqdm:
    """A progress bar of steps."""
    return tqdm(total=steps, desc=command, unit="step", file=sys.stderr, leave=False, disable=None)


def over_ros(
    world: NodeProgram,
    answering: NodeProgram,
    namespace: str,
    folder: Path,
    progress: tqdm,
    check: Callable[[], None],
) -> EpisodeOutcome:
    """Both nodes as processes, which end with the run, watched until it is over.

    ``check`` raises KeyboardInterrupt when the user has ended it.
    """
    from control_stack.ros.task_client import TaskClient

    nodes, outcome = Nodes(folder), EpisodeOutcome()

    def alive() -> None:
        check()
        nodes.alive()

    client = TaskClient(namespace, alive, (world.name, answering.name))
    try:
        with progress:
            for program in (world, answering):
                nodes.start(*program, namespace)
            client.watch(lambda steps: progress.update(steps - progress.n) and None)
    except KeyboardInterrupt:
        outcome.interrupted = True
    except FlightAborted as error:
        outcome.aborted = str(error)
    finally:
        nodes.stop()
        client.close()
    counts = {**client.status.get(world.name, {}), **client.status.get(answering.name, {})}
    outcome.rejections = {key: int(count) for key, count in counts.items() if "/" in key}
    return outcome

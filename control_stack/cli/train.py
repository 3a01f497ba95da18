"""control-stack train foundation: trains the foundation policy, from an empty folder to weights with their card.

Stages: shared (one net for all airframes), teachers (a net for each airframe, from the shared one), distil (the
student learns from the teachers), tune (the student through the simulator). Stopped or killed, the same command
goes on where it was; what is done is skipped.
"""

from __future__ import annotations

import argparse
import math
import shlex
import sys
from pathlib import Path
from typing import Any

from control_stack.artefacts.tables import table
from control_stack.cli import train_gains, train_imitation, training
from control_stack.cli.arguments import check_seed, output_folder
from control_stack.errors import InvalidInput

# The figures that a training ends with; bench foundation has all of them, beside the peer's.
_SHOWN = ("hover, random force", "hover, calm", "eight, 5.5 s lap", "torque/inertia 40-100", "velocity delay 40 ms")


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Adds the command to the front door."""
    parser = commands.add_parser("train", help="train the foundation policy, or imitators of experts")
    kinds = parser.add_subparsers(dest="what", metavar="POLICY", required=True)
    train_imitation.add_parser(kinds)
    train_gains.add_parser(kinds)
    parser = kinds.add_parser("foundation", help="the policy that flies any quadrotor", description=__doc__)
    parser.add_argument("--out", required=True, metavar="DIR", help="folder of the training: new, or to be resumed")
    parser.add_argument("--seed", type=int, help="of everything (default 0)")
    parser.add_argument("--workers", type=int, metavar="N", help="processes (default 2); part of the recipe")
    parser.add_argument(
        "--stage", choices=["shared", "teachers", "distil", "tune", "direct", "all"], default="all",
        help="only this one (default all); direct: the same student without teachers, to compare; not part of all",
    )  # fmt: skip
    parser.add_argument("--no-tune", action="store_true", help="all stages but the last")
    parser.add_argument("--recipe", metavar="FILE", help="YAML with values that differ from the shipped recipe")
    parser.add_argument(
        "--engine", choices=["local", "ray"], default="local", help="where teachers train: processes, or Ray tasks"
    )
    parser.add_argument("--device", choices=["cpu", "cuda"], help="that vehicles fly on in training (default cpu)")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Trains; returns the exit code."""
    stages = _stages(options.stage, options.no_tune)
    if options.seed is not None:
        check_seed(options.seed)
    folder = output_folder(options.out)
    torch = training.load_torch()  # on one core in this process, which judges teachers while no worker runs
    from control_stack.foundation.training import pipeline

    if options.device == "cuda" and not torch.cuda.is_available():
        raise InvalidInput("--device cuda: torch finds no CUDA device")
    changes = {"seed": options.seed, "workers": options.workers, "device": options.device}
    recipe = pipeline.load_recipe(Path(options.recipe) if options.recipe is not None else None, **changes)
    with (
        training.resumable(folder, "can be resumed"),
        Bars(pipeline.updates_by_stage(recipe)) as bars,
        pipeline.Training(folder, recipe, bars, options.engine, _command(options)) as course,
    ):
        course.run(stages)
        bars.close()
        if stages[-1] in ("distil", "tune"):
            print("flying the validation tests ...", file=sys.stderr)
        summary = course.finish()
    _print(summary, folder)
    return 0


def _stages(stage: str, no_tune: bool) -> tuple[str, ...]:
    if stage != "all":
        if no_tune:
            raise InvalidInput("--no-tune is for --stage all")
        return (stage,)
    return ("shared", "teachers", "distil") if no_tune else ("shared", "teachers", "distil", "tune")


def _command(options: argparse.Namespace) -> str:
    """What reproduces the weights in a folder of another name; the stage is left out: all are needed."""
    words = ["control-stack", "train", "foundation", "--out", "DIR"]
    for name in ("recipe", "seed", "workers", "device"):
        value = getattr(options, name)
        words += [] if value is None else [f"--{name}", str(value)]
    if options.stage == "direct":
        words += ["--stage", "direct"]
    return shlex.join(words + (["--no-tune"] if options.no_tune else []))


class Bars(training.Bars):
    """One progress bar after the other, a stage each, with cost, score and survival.

    Args:
        totals: Updates by stage.
    """

    def __init__(self, totals: dict[str, int]):
        super().__init__("update", 9)
        self._totals = totals
        self._cost, self._judged = math.nan, ""

    def __call__(self, stage: str, rank: int, done: int, value: Any) -> None:
        """Shows a worker's report (``parallel.Report``)."""
        if self.begin(stage, done, self._totals[stage]):
            self._cost, self._judged = math.nan, ""
        if isinstance(value, tuple):
            self._judged = f", score {value[1]:.3f}, survived {100.0 * value[2]:.1f} %"
        elif rank == 0:
            self._cost = training.smoothed(self._cost, value)
            self.advance(done)
        self.say(f"cost {self._cost:.4f}{self._judged}")


def _print(summary: dict[str, Any], folder: Path) -> None:
    rows = [(f"{stage}: {course['updates']} updates", course["wall_time_s"] / 60.0, "min")
            for stage, course in summary["stages"].items()]  # fmt: skip
    teachers = summary["teachers"]
    if teachers:
        rows += [
            ("teachers, RMSE mean", 1e3 * teachers["teacher_rmse_mean_m"], "mm"),
            ("shared net on the same airframes", 1e3 * teachers["shared_rmse_mean_m"], "mm"),
            ("teachers retrained", teachers["retrained"], ""),
            ("teachers dropped", teachers["dropped"], ""),
        ]
    for name in _SHOWN if "validation" in summary else ():
        figures = summary["validation"][name]
        rows += [(f"{name}: survived", 100.0 * figures["survived"], "%")]
        rows += [(f"{name}: RMSE, losses as 1 m", 1e3 * figures["rmse_all_m"], "mm")]
    print(table(rows, ("training", "value", "unit")))
    if "chosen" in summary:
        print(f"weights: {folder / 'foundation.safetensors'} ({summary['chosen']})")
    print(f"folder: {folder}")

"""What the student's size and the number of teachers are worth: small students of the teachers of one training.

Run: python scripts/foundation_ablation.py TRAINING --out DIR [--updates 600], in the clone with .venv activated, after
control-stack train foundation --out TRAINING

Every student is distilled anew with the same few updates and not tuned. DIR then goes to
control-stack bench foundation --ablation DIR. Stopped, the same command goes on.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402

from control_stack.artefacts.runs import machine, plain  # noqa: E402
from control_stack.artefacts.tensors import training_of  # noqa: E402
from control_stack.cli.train import Bars  # noqa: E402
from control_stack.errors import ControlStackError, InvalidInput  # noqa: E402
from control_stack.foundation import weights as artefact  # noqa: E402
from control_stack.foundation.training import history, pipeline, recipe  # noqa: E402
from control_stack.foundation.training.recipe import Recipe  # noqa: E402

HIDDEN, TEACHERS = (8, 16, 32), (16, 64, 256)


def students(whole: Recipe, updates: int) -> Iterator[tuple[str, Recipe]]:
    """Names and recipes: other sizes with all teachers, other numbers of teachers with the shipped size."""
    small = replace(whole, distilled=updates, teacher_driven=min(whole.teacher_driven, updates // 4))
    for hidden in HIDDEN:
        yield f"hidden_{hidden}", replace(small, hidden=hidden)
    for teachers in TEACHERS:
        if teachers < whole.teachers:
            yield f"teachers_{teachers}", replace(small, teachers=teachers)


def choose_teachers(training: Path, student: Recipe, folder: Path) -> None:
    """Copies the first of each worker's teachers, as many as the student has, unless they are there."""
    for rank in range(student.workers):
        target = recipe.taught_path(folder, rank)
        if target.is_file():
            continue
        airframes, stack = recipe.load_teachers(recipe.taught_path(training, rank))
        own = slice(0, student.teachers // student.workers)
        chosen = {name: w[own].clone() for name, w in stack.items()}
        recipe.save_shard(chosen, airframes[own], torch.ones(len(airframes[own])), target)


def distil(training: Path, name: str, student: Recipe, out: Path, bars: Bars) -> None:
    """Trains one student and writes it with its card, unless it is there."""
    target, folder = out / f"{name}.safetensors", out / name
    if target.is_file():
        return
    folder.mkdir(parents=True, exist_ok=True)
    choose_teachers(training, student, folder)
    courses = history.History(folder / "distilled")

    def report(stage: str, rank: int, done: int, value: object) -> None:
        courses.add(rank, done, value)
        bars(stage, rank, done, value)

    weights = recipe.distil(student, folder, report)
    seconds = max(record["seconds"] for record in history.read(folder / "distilled"))
    score, survived = recipe.judge(weights, student.judged)
    command = f"python scripts/foundation_ablation.py TRAINING --out DIR --updates {student.distilled}"
    card = {
        **training_of(command, student.seed, seconds),
        "teachers": student.teachers,
        "hardware": {**machine(), "workers": student.workers},
        "recipe": plain(student),
    }
    tensors = {key: value.cpu().numpy() for key, value in weights.items()}
    figures = {"validation_score": score, "validation_survived": survived}
    artefact.save(target, tensors, training=card, figures=figures)


def main() -> int:
    """Trains all of them, one after the other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("training", type=Path, help="folder of a training with teachers")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument("--updates", type=int, default=600, help="of each student (default 600)")
    options = parser.parse_args()
    try:
        stored = options.training / "recipe.json"
        if not stored.is_file():
            raise InvalidInput(f"{options.training} holds no training")
        values = json.loads(stored.read_text(encoding="utf-8"))
        whole = pipeline.load_recipe(None, **values)
        for name, student in students(whole, options.updates):
            print(name, file=sys.stderr)
            with Bars({"distilled": options.updates}) as bars:
                distil(options.training, name, student, options.out, bars)
    except ControlStackError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())

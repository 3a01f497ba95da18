"""Models that come with the package: one for each task that has one."""

from __future__ import annotations

from pathlib import Path

from control_stack.errors import InvalidInput

_FOLDER = "models"


def model_of(task: str) -> Path:
    """The file of the shipped model of a task.

    Raises:
        InvalidInput: None is shipped; the message says how to fit one.
    """
    path = Path(__file__).parent / _FOLDER / f"{task}.safetensors"
    if not path.is_file():
        raise InvalidInput(
            f"no model of {task} is shipped; fit one: control-stack collect {task} --out data/{task}, then "
            f"control-stack fit sparse data/{task} --out fit/{task}, and name it: "
            f"--model fit/{task}/model.safetensors"
        )
    return path

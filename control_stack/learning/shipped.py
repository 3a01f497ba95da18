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


def lipschitz_model_of(task: str) -> Path:
    """The file of the shipped Lipschitz model of a task.

    Raises:
        InvalidInput: None is shipped; the message names those that are.
    """
    folder, prefix = Path(__file__).parent / _FOLDER, "lipschitz-"
    path = folder / f"{prefix}{task}.safetensors"
    if not path.is_file():
        there = sorted(file.stem.removeprefix(prefix) for file in folder.glob(f"{prefix}*.safetensors"))
        raise InvalidInput(
            f"no Lipschitz model of {task} is shipped, there are {', '.join(there) or 'none'}; fit one: "
            f"control-stack fit lipschitz DATA --out DIR"
        )
    return path


def lagrangian_models(arm: str = "panda") -> list[Path]:
    """Files of the shipped Lagrangian models of an arm, one for each seed of training; empty where none ships."""
    return sorted((Path(__file__).parent / _FOLDER).glob(f"arm-{arm}*.safetensors"))


def black_box_models(arm: str = "panda") -> list[Path]:
    """Files of the shipped black boxes that Lagrangian models of an arm are compared with; empty where none ships."""
    return sorted((Path(__file__).parent / _FOLDER).glob(f"black-box-{arm}*.safetensors"))


def arm_model(arm: str) -> Path:
    """The file of the shipped Lagrangian model of an arm. Raises InvalidInput: none is shipped."""
    path = Path(__file__).parent / _FOLDER / f"arm-{arm}.safetensors"
    if not path.is_file():
        raise InvalidInput(
            f"no Lagrangian model of {arm} is shipped; fit one: control-stack collect arm --arm {arm} --out data, "
            f"then control-stack fit lagrangian data --out DIR"
        )
    return path

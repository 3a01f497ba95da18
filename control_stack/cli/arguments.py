"""Checks of arguments that more than one command takes. Each raises InvalidInput with one line."""

from __future__ import annotations

import os
from pathlib import Path

from control_stack.errors import InvalidInput

MAX_SEED = 2**31 - 1


def check_seed(seed: int) -> None:
    """A seed that all random generators and ROS parameters take."""
    if not 0 <= seed <= MAX_SEED:
        raise InvalidInput(f"--seed must be from 0 to {MAX_SEED}, got {seed}")


def output_folder(text: str) -> Path:
    """Path of ``--out``."""
    if not text:
        raise InvalidInput("--out needs a folder, got an empty name")
    return Path(text)


def output_file(option: str, text: str) -> Path:
    """Path of a file that can be written when the work is done, checked before it is begun."""
    path = Path(text)
    if not text or path.is_dir():
        raise InvalidInput(f"{option} needs a file, got {f'the folder {text}' if text else 'an empty name'}")
    if not path.parent.is_dir():
        raise InvalidInput(f"{option} {path}: there is no folder {path.parent}")
    if not os.access(path.parent, os.W_OK):
        raise InvalidInput(f"{option} {path}: the folder {path.parent} cannot be written to")
    return path

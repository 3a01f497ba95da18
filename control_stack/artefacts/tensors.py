"""Weights on disk: a safetensors file and, beside it under the same name, the JSON card that says what they mean.

The card holds the SHA-256 of the weights, so that one is never read with the other's. What else a card must say is
for the reader of that kind of weights to check.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as from_bytes
from safetensors.numpy import save as to_bytes

from control_stack.artefacts.runs import git_revision, machine, plain, write_json
from control_stack.errors import InvalidInput

TRAINING_KEYS = ("command", "seed", "git_revision", "wall_time_s", "hardware")


def write(
    path: str | Path, tensors: Mapping[str, Any], card: Mapping[str, Any], what: str = "weights"
) -> dict[str, Any]:
    """Writes tensors and card; returns the card with the weights' SHA-256.

    Raises:
        InvalidInput: The path is no .safetensors, or cannot be written.
    """
    file = weights_path(path, what)
    data = to_bytes({name: np.ascontiguousarray(value) for name, value in tensors.items()})
    signed = {**card, "sha256": hashlib.sha256(data).hexdigest()}
    partial = file.with_name(f".{file.name}.partial")
    try:
        partial.write_bytes(data)
        write_json(file.with_suffix(".json"), signed)
        partial.replace(file)  # last: weights that are there are whole and have their card
    except OSError as error:
        raise InvalidInput(f"cannot write {file}: {error.strerror}") from None
    return signed


def write_model(
    path: str | Path,
    tensors: Mapping[str, Any],
    contract: Mapping[str, Any],
    training: Mapping[str, Any],
    figures: Mapping[str, Any],
    what: str = "weights",
) -> dict[str, Any]:
    """Writes a trained model as ``write`` does; returns its card.

    Args:
        path: Of the weights. tensors: By name.
        contract: The part of the card that the run time relies on.
        training: command, seed, git_revision, wall_time_s, hardware, and what else there is to tell.
        figures: What was measured with these weights.
        what: The kind of weights, for messages.

    Raises:
        InvalidInput: As ``check_training`` and ``write``.
    """
    check_training(path, training)
    return write(path, tensors, {**contract, "training": plain(training), "figures": plain(figures)}, what)


def read(
    path: str | Path, what: str = "weights", card_format: str | None = None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Tensors by name, and their card.

    Raises:
        InvalidInput: A file is missing, damaged or not of the other, or the card's format is not ``card_format``.
    """
    file = weights_path(path, what)
    stored, sha256 = read_tensors(file, what)
    card = read_card(file)
    check_signature(file, card, sha256)
    if card_format is not None and card.get("format") != card_format:
        raise InvalidInput(
            f"{file.with_suffix('.json')}: format is {card.get('format')!r}, this code runs {card_format!r}"
        )
    return stored, card


def check_contract(path: str | Path, card: Mapping[str, Any], contract: Mapping[str, Any]) -> None:
    """Raises InvalidInput for a card that says other things of the weights ``path`` than they are."""
    file = Path(path)
    for key, expected in contract.items():
        if card.get(key) != expected:
            raise InvalidInput(f"{file.with_suffix('.json')}: {key} is not that of the weights in {file.name}")


def read_tensors(path: str | Path, what: str = "weights") -> tuple[dict[str, Any], str]:
    """Tensors by name, and their SHA-256.

    Raises:
        InvalidInput: The file is missing, truncated or no safetensors.
    """
    file = weights_path(path, what)
    data = _read(file)
    try:
        return from_bytes(data), hashlib.sha256(data).hexdigest()
    except (SafetensorError, KeyError, ValueError) as error:
        raise InvalidInput(f"{file}: no whole safetensors file: {str(error).splitlines()[0]}") from None


def read_card(path: str | Path) -> dict[str, Any]:
    """The card beside the weights ``path``.

    Raises:
        InvalidInput: It is missing or no JSON object.
    """
    file = Path(path).with_suffix(".json")
    text = _read(file)
    try:
        card = json.loads(text)
    except ValueError as error:
        raise InvalidInput(f"{file}: not valid JSON: {error}") from None
    if not isinstance(card, dict):
        raise InvalidInput(f"{file}: a card is a JSON object")
    return card


def check_signature(path: str | Path, card: Mapping[str, Any], sha256: str) -> None:
    """Raises InvalidInput for a card of other weights."""
    file = Path(path)
    if card.get("sha256") != sha256:
        raise InvalidInput(f"{file.with_suffix('.json')}: written for other weights than {file.name} (sha256 differs)")


def training_of(command: str, seed: int, seconds: float) -> dict[str, Any]:
    """What ``check_training`` asks for, of a training in this process."""
    return {
        "command": command, "seed": seed, "git_revision": git_revision(), "wall_time_s": seconds, "hardware": machine(),
    }  # fmt: skip


def check_training(path: str | Path, training: Mapping[str, Any]) -> None:
    """Raises InvalidInput unless a training tells how its weights came to be."""
    missing = set(TRAINING_KEYS) - set(training)
    if missing:
        raise InvalidInput(f"{path}: the card's training lacks {', '.join(sorted(missing))}")


def weights_path(path: str | Path, what: str = "weights") -> Path:
    """The path of a .safetensors file. Raises InvalidInput for another suffix."""
    file = Path(path)
    if file.suffix != ".safetensors":
        raise InvalidInput(f"{what} are a .safetensors file with its card beside it, got '{path}'")
    return file


def _read(file: Path) -> bytes:
    if not file.is_file():
        raise InvalidInput(f"{file} does not exist")
    try:
        return file.read_bytes()
    except OSError as error:
        raise InvalidInput(f"cannot read {file}: {error.strerror}") from None

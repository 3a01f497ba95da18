"""Work in a folder of its own: it says what is made in it, so that a run that was stopped goes on and no two mix."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from control_stack.artefacts.runs import write_json
from control_stack.errors import InvalidInput
from control_stack.exclusive import lock

Work = TypeVar("Work", bound="ClaimedFolder")


class ClaimedFolder:
    """Base of work in a folder, which it keeps to itself until the end of its context."""

    def __init__(self, folder: Path, told: Mapping[str, Any], kind: str = "fit", busy: str = "another fit runs"):
        """Writes ``<kind>.json`` into a new or empty folder, or finds the same there.

        Args:
            folder: Of the work.
            told: What is made there, settings and the data's digest, plain enough for JSON.
            kind: What that is called. busy: What is said of the one that has the folder.

        Raises:
            InvalidInput: The folder holds another one, or something else, or cannot be written to, or is in use.
        """
        self.folder = folder
        _claim(folder, told, kind)
        held = lock(f"{kind}-{folder.resolve()}")
        if held is None:
            raise InvalidInput(f"{busy} in {folder}")
        self._lock = held

    def __enter__(self: Work) -> Work:
        return self

    def __exit__(self, *details: object) -> None:
        self._lock.close()


def _claim(folder: Path, told: Mapping[str, Any], kind: str) -> None:
    path = folder / f"{kind}.json"
    if path.is_file():
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except ValueError:
            raise InvalidInput(f"{path} is not valid JSON: remove the folder or name another") from None
        if found != told:
            raise InvalidInput(f"{folder} holds another {kind} ({_difference(found, told)}): name another folder")
        return
    if folder.exists() and not folder.is_dir():
        raise InvalidInput(f"output folder {folder} is a file")
    if folder.is_dir() and any(folder.iterdir()):
        raise InvalidInput(f"output folder {folder} is not empty and holds no {kind}: name another")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_json(path, told)
    except OSError as error:
        raise InvalidInput(f"cannot write into {folder}: {error.strerror}") from None


def _difference(found: Any, told: Mapping[str, Any]) -> str:
    if not isinstance(found, dict):
        return "unreadable"
    for name, value in told.items():
        other = found.get(name)
        if other != value:
            if isinstance(value, dict) and isinstance(other, dict):
                return f"{name} {_difference(other, value)}"
            return f"{name} {other}, not {value}"
    return "an older format"

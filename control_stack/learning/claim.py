"""The folder of a fit: it says what is fitted in it, so that a run that was stopped goes on and no two fits mix."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from control_stack.artefacts.runs import write_json
from control_stack.errors import InvalidInput


def claim(folder: Path, told: Mapping[str, Any]) -> None:
    """Writes fit.json into a new or empty folder, or finds the same there.

    Args:
        folder: Of the fit.
        told: Settings and the data's digest, plain enough for JSON.

    Raises:
        InvalidInput: The folder holds another fit, or something else, or cannot be written to.
    """
    path = folder / "fit.json"
    if path.is_file():
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except ValueError:
            raise InvalidInput(f"{path} is not valid JSON: remove the folder or name another") from None
        for name, value in told.items():
            if not isinstance(found, dict) or found.get(name) != value:
                other = found.get(name) if isinstance(found, dict) else found
                raise InvalidInput(f"{folder} holds another fit ({name} {other}, not {value}): name another folder")
        return
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InvalidInput(f"output folder {folder} is not empty and holds no fit: name another")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_json(path, told)
    except OSError as error:
        raise InvalidInput(f"cannot write into {folder}: {error.strerror}") from None

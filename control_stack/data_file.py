"""Vehicle and arm files: YAML with ``{value, unit, source}`` per quantity, checked as it is read."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from control_stack.errors import InvalidInput, UnknownName
from control_stack.types import Array

# Not by the package's name: in the folder above a clone called control_stack that is the clone, not the package.
_PACKAGE = Path(__file__).parent
Schema = Mapping[str, tuple[str, tuple[int, ...]]]  # key -> (unit, shape)


def shipped_names(folder: str) -> list[str]:
    """Names of the files that ship in a folder of this package ("vehicles", "vehicles/arms")."""
    found = (_PACKAGE / folder).iterdir()
    return sorted(f.name.removesuffix(".yaml") for f in found if f.name.endswith(".yaml"))


def read_text(name_or_path: str | Path, kind: str, folder: str) -> tuple[str, str]:
    """Text and origin, for messages, of a shipped file by name, or of a file by path (with a separator or .yaml).

    Raises:
        UnknownName: No such name.
        InvalidInput: No such file, or no text.
    """
    name = str(name_or_path)
    if name.endswith((".yaml", ".yml")) or os.sep in name:
        path = Path(name)
        if not path.is_file():
            raise InvalidInput(f"{kind} file {path} {'is a folder' if path.is_dir() else 'does not exist'}")
        try:
            return path.read_text(encoding="utf-8"), str(path)
        except UnicodeDecodeError:
            raise InvalidInput(f"{kind} file {path} is not UTF-8 text") from None
    if name not in shipped_names(folder):
        raise UnknownName(kind, name, [*shipped_names(folder), "path/to/file.yaml"])
    file = _PACKAGE / folder / f"{name}.yaml"
    return file.read_text(encoding="utf-8"), f"{name}.yaml"


def parse_mapping(text: str, origin: str) -> dict[str, Any]:
    """The mapping that a file holds, with a ``name`` that is text. Raises InvalidInput."""
    try:
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InvalidInput(f"{origin}: not valid YAML: {_where(error)}") from None
    if not isinstance(data, dict) or "name" not in data:
        raise InvalidInput(f"{origin}: expected a mapping with a 'name'")
    if not isinstance(data["name"], str) or not data["name"]:
        raise InvalidInput(f"{origin}: 'name' must be text, got {data['name']!r}; write it in quotes")
    return data


def _where(error: yaml.YAMLError) -> str:
    """What is wrong in the text and where, in one line."""
    if not isinstance(error, yaml.MarkedYAMLError) or error.problem_mark is None:
        return str(error).splitlines()[0]
    mark = error.problem_mark
    return f"line {mark.line + 1}, column {mark.column + 1}: {error.problem or error.context}"


def quantity(data: Mapping[str, Any], key: str, origin: str, schema: Schema, optional: Mapping[str, Any]) -> Array:
    """One quantity in the unit and shape of the schema, or its value in ``optional`` where it is left out.

    Raises:
        InvalidInput: It is missing, not ``{value, unit, source}``, of another unit or shape, or not finite.
    """
    unit, shape = schema[key]
    if key not in data:
        if key in optional:
            return np.asarray(optional[key], dtype=float)
        raise InvalidInput(f"{origin}: '{key}' is missing (expected {{value, unit: {unit}, source}})")
    entry = data[key]
    if not isinstance(entry, dict) or set(entry) != {"value", "unit", "source"}:
        raise InvalidInput(f"{origin}: '{key}' must be {{value, unit, source}}")
    if str(entry["unit"]) != unit:
        raise InvalidInput(f"{origin}: '{key}' must be in '{unit}', got '{entry['unit']}'")
    try:
        value = np.asarray(entry["value"], dtype=float)
    except (TypeError, ValueError):
        raise InvalidInput(f"{origin}: '{key}' is not numeric: its value is {str(entry['value'])[:60]!r}") from None
    if value.shape != shape:
        raise InvalidInput(f"{origin}: '{key}' must have shape {shape}, got {value.shape}")
    if not np.isfinite(value).all():
        raise InvalidInput(f"{origin}: '{key}' must be finite, got {value.tolist()}")
    return value

"""CSV files that users write."""

from __future__ import annotations

import csv
import math
from pathlib import Path

from control_stack.errors import InvalidInput


def read_rows(path: Path, name: str = "") -> list[tuple[int, list[str]]]:
    """Line number and cells, stripped, of every row but blank lines and # comments.

    Args:
        path: Of the file. name: What to call it where it is missing; its path by default.

    Raises:
        InvalidInput: It does not exist or is no CSV text.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file)
            rows = [(reader.line_num, [cell.strip() for cell in row]) for row in reader]
    except FileNotFoundError:
        raise InvalidInput(f"{name or path} does not exist") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InvalidInput(f"{path}: cannot be read as CSV text: {error}") from None
    return [(line, row) for line, row in rows if any(row) and not row[0].startswith("#")]


def finite(cell: str, place: str) -> float:
    """The number in a cell. Raises InvalidInput, which begins with ``place``, for anything else, NaN and infinity."""
    try:
        value = float(cell)
    except ValueError:
        raise InvalidInput(f"{place} is '{cell}', not a number") from None
    if not math.isfinite(value):
        raise InvalidInput(f"{place} is {cell}, not a finite number")
    return value

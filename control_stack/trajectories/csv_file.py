"""Trajectories and waypoints from CSV files, refused with file and line number when they cannot be flown."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from control_stack.csv_text import finite, read_rows
from control_stack.errors import InvalidInput
from control_stack.trajectories.minimum_snap import MinimumSnap
from control_stack.trajectories.sampled import SampledTrajectory
from control_stack.types import Array

_MIN_ROWS = 4
# Beyond these a spline loses its digits: a million of m, m/s or rad, and seconds that still fit today's UNIX time.
_LARGEST, _LARGEST_TIME = 1e6, 1e10
_SHORTEST_STEP = 1e-6  # s


def load_csv(path: str | Path) -> SampledTrajectory:
    """A timed trajectory: columns t (s), x, y, z (m, world), optionally yaw (rad) and vx, vy, vz (m/s).

    Time may start anywhere; the first row is flown at 0 s.

    Raises:
        InvalidInput: One line with file and line number: a column is missing, unknown or given twice, a value is
            not a finite number or absurdly large, time does not increase, or there are fewer than 4 rows.
    """
    columns, lines = _read(Path(path), ("t", "x", "y", "z"), (("yaw",), ("vx", "vy", "vz")), _MIN_ROWS)
    times = columns["t"]
    for i in np.flatnonzero(np.diff(times) < _SHORTEST_STEP)[:1]:
        raise InvalidInput(
            f"{path}, line {lines[i + 1]}: time must increase, got {times[i + 1]:.9g} s after {times[i]:.9g} s"
        )
    velocities = _stack(columns, ("vx", "vy", "vz")) if "vx" in columns else None
    return SampledTrajectory(times - times[0], _stack(columns, ("x", "y", "z")), velocities, None, columns.get("yaw"))


def load_waypoints(
    path: str | Path, speed: float = 1.0, acceleration: float = 2.0, start: ArrayLike | None = None
) -> MinimumSnap:
    """Minimum snap through the rows of a file with columns x, y, z (m, world) and optionally yaw (rad).

    ``start`` (3,) is put before the first row unless it is that point. Errors as ``load_csv``; at least 2
    rows.
    """
    columns, lines = _read(Path(path), ("x", "y", "z"), (("yaw",),), 2)
    points = _stack(columns, ("x", "y", "z"))
    for i in np.flatnonzero(np.linalg.norm(np.diff(points, axis=0), axis=1) < 1e-6)[:1]:
        raise InvalidInput(f"{path}, line {lines[i + 1]}: the same point as the line before")
    yaws = columns.get("yaw")
    if start is not None and np.linalg.norm(points[0] - np.asarray(start, dtype=float)) > 1e-3:
        points = np.concatenate([[start], points])
        yaws = None if yaws is None else np.concatenate([yaws[:1], yaws])
    return MinimumSnap(points, yaws, speed=speed, acceleration=acceleration)


def _stack(columns: dict[str, Array], names: tuple[str, ...]) -> Array:
    return np.stack([columns[name] for name in names], axis=-1)


def _read(
    path: Path, required: tuple[str, ...], optional: tuple[tuple[str, ...], ...], min_rows: int
) -> tuple[dict[str, Array], list[int]]:
    """Columns by name and the line number of each row. Blank lines and # comments are skipped."""
    rows = read_rows(path, f"trajectory file {path}")
    expected = f"expected columns {','.join(required)}" + "".join(f"[,{','.join(group)}]" for group in optional)
    if not rows:
        raise InvalidInput(f"{path}, line 1: the file is empty; {expected}")
    line, header = rows.pop(0)
    _check_header(f"{path}, line {line}", header, required, optional, expected)
    values = np.empty((len(rows), len(header)))
    for i, (number, row) in enumerate(rows):
        if len(row) != len(header):
            raise InvalidInput(f"{path}, line {number}: {len(row)} values in {len(header)} columns")
        for j, (name, cell) in enumerate(zip(header, row, strict=True)):
            largest = _LARGEST_TIME if name == "t" else _LARGEST
            values[i, j] = finite(cell, f"{path}, line {number}: {name}")
            if abs(values[i, j]) > largest:
                raise InvalidInput(f"{path}, line {number}: {name} is {cell}, further than {largest:g} from 0")
    if len(rows) < min_rows:
        last = rows[-1][0] if rows else line
        raise InvalidInput(f"{path}, line {last}: {len(rows)} rows of values, at least {min_rows} are needed")
    return dict(zip(header, values.T, strict=True)), [number for number, _ in rows]


def _check_header(
    place: str,
    header: list[str],
    required: tuple[str, ...],
    optional: tuple[tuple[str, ...], ...],
    expected: str,
) -> None:
    known = {*required, *(name for group in optional for name in group)}
    for name in header:
        if name not in known:
            raise InvalidInput(f"{place}: unknown column '{name}'; {expected}")
        if header.count(name) > 1:
            raise InvalidInput(f"{place}: column '{name}' is given twice")
    wanted = [*required, *(n for group in optional if set(group) & set(header) for n in group)]
    missing = [name for name in wanted if name not in header]
    if missing:
        raise InvalidInput(f"{place}: column '{missing[0]}' is missing; {expected}")

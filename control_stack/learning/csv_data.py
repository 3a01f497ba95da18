"""A user's log as a data set: one CSV file, one row a sample.

    episode, t [s], position [m], velocity [m/s], u:force [N]
    first, 0.00, 0.000, 0.00, 1.5
    first, 0.05, 0.002, 0.08, 0.5
    first, 0.10, 0.006, 0.10,

Columns ``episode`` (any text; rows of an episode follow each other) and ``t [s]`` come with any number of states and,
marked by ``u:``, inputs, which hold from their row to the next. Every name carries its unit in brackets.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import groupby
from pathlib import Path

import numpy as np

from control_stack.csv_text import finite, read_rows
from control_stack.errors import InvalidInput
from control_stack.learning.data import Dataset, check, dataset
from control_stack.protocols import DynamicsSpec
from control_stack.types import Array

_TIME, _EPISODE, _INPUT = "t [s]", "episode", "u:"
_JITTER = 0.05  # of the sample time: more is mixed sample times, not noise of a clock
_EXPECTED = "expected columns episode, t [s], states like 'angle [rad]' and inputs like 'u:force [N]'"


def read_csv(path: str | Path) -> Dataset:
    """Reads a CSV file with the columns above; blank lines and # comments are skipped.

    The sample time is the median one. The inputs in an episode's last row have no effect and may be empty.

    Raises:
        InvalidInput: One line with file and line number: a column is missing, unnamed, given twice or without a unit, a
            value is not a finite number, time does not increase, sample times differ by more than 5 %, an episode
            has fewer than two rows or comes in two places; or the data cannot be trained on (``data.check``).
    """
    path = Path(path)
    lines, header, rows = _rows(path)
    names = header[:]
    _check_header(f"{path}, line {lines[0]}", names)
    key, clock = names.index(_EPISODE), names.index(_TIME)
    inputs = [k for k, name in enumerate(names) if name.startswith(_INPUT)]
    states = [k for k in range(len(names)) if k not in (key, clock, *inputs)]
    episodes, times, seen, first = [], [], set(), 0
    for name, group in groupby(rows, key=lambda row: row[key]):
        count = len(list(group))
        place = lines[1 + first : 1 + first + count]
        if name in seen:
            raise InvalidInput(f"{path}, line {place[0]}: episode {name} was ended by another one before")
        if count < 2:
            raise InvalidInput(f"{path}, line {place[0]}: episode {name} has a single row: there is no step in it")
        seen.add(name)
        block = rows[first : first + count]
        last = [0.0 if k in inputs and not block[-1][k] else None for k in range(len(names))]
        values = np.array(
            [
                [
                    0.0 if k == key else last[k] if i == count - 1 and last[k] is not None
                    else finite(cell, f"{path}, line {place[i]}: {names[k]}")
                    for k, cell in enumerate(row)
                ]
                for i, row in enumerate(block)
            ]
        )  # fmt: skip
        times.append((values[:, clock], place))
        episodes.append((values[:, states], values[:-1][:, inputs]))
        first += count
    ends = [line for _, lines in times for line in lines[1:]]
    spec = DynamicsSpec(
        state=tuple(names[k] for k in states),
        inputs=tuple(names[k].removeprefix(_INPUT).strip() for k in inputs),
        parameters=(),
        defaults=np.zeros(0),
        dt=sample_time(np.concatenate([np.diff(t) for t, _ in times]), lambda k: f"{path}, line {ends[k]}"),
    )
    return check(dataset(episodes, spec), str(path))


def _rows(path: Path) -> tuple[list[int], list[str], list[list[str]]]:
    """Line numbers of header and rows, header, rows; cells stripped."""
    read = read_rows(path)
    if len(read) < 2:
        raise InvalidInput(f"{path}: no rows of values; {_EXPECTED}")
    header = read[0][1]
    for line, row in read[1:]:
        if len(row) != len(header):
            raise InvalidInput(f"{path}, line {line}: {len(row)} values in {len(header)} columns")
    return [line for line, _ in read], header, [row for _, row in read[1:]]


def _check_header(place: str, names: list[str]) -> None:
    for needed in (_EPISODE, _TIME):
        if needed not in names:
            raise InvalidInput(f"{place}: column '{needed}' is missing; {_EXPECTED}")
    for name in names:
        if names.count(name) > 1:
            raise InvalidInput(f"{place}: column '{name}' is given twice")
        if name != _EPISODE and not re.fullmatch(r"(u:)?\s*[^\s\[\]][^\[\]]*\[[^\[\]]+\]", name):
            raise InvalidInput(f"{place}: column '{name}' has no name or no unit; {_EXPECTED}")
    if not any(name.startswith(_INPUT) for name in names):
        raise InvalidInput(f"{place}: no input column; {_EXPECTED}")
    if all(name in (_EPISODE, _TIME) or name.startswith(_INPUT) for name in names):
        raise InvalidInput(f"{place}: no state column; {_EXPECTED}")


def sample_time(steps: Array, place: Callable[[int], str]) -> float:
    """The median of the times between samples (n,), s.

    Args:
        place: Where the k-th of them ends, for the message.

    Raises:
        InvalidInput: One is not above zero, or off the median by more than 5 %.
    """
    for k in np.flatnonzero(steps <= 0.0)[:1]:
        raise InvalidInput(f"{place(k)}: time does not increase within the episode")
    dt = float(np.median(steps))
    for k in np.flatnonzero(np.abs(steps - dt) > _JITTER * dt)[:1]:
        raise InvalidInput(
            f"{place(k)}: mixed sample times, {steps[k]:.6g} s here and {dt:.6g} s in the median; "
            "resample the log first"
        )
    return float(f"{dt:.9g}")  # 0.05 rather than 0.04999999999999982

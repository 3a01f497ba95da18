"""Aligned tables for the terminal, and the report that every benchmark writes."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TextIO

from control_stack.artefacts.runs import provenance, write_json
from control_stack.errors import InvalidInput

_COMPARE: dict[str, Callable[[float, float], bool]] = {
    ">=": lambda a, b: a >= b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    "<": lambda a, b: a < b,
    "==": lambda a, b: a == b,
}


def number(value: Any) -> str:
    """A float with four significant digits, without needless exponent; others as text, None as "-"."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if not isinstance(value, float):
        return str(value)
    if not math.isfinite(value):
        return str(value)
    if value == 0.0 or 1e-4 <= abs(value) < 1e6:
        digits = 3 if value == 0.0 else max(3 - math.floor(math.log10(abs(value))), 0)
        return f"{value:.{digits}f}"
    return f"{value:.3e}"


def table(rows: Sequence[Sequence[Any]], headers: Sequence[str] = ()) -> str:
    """Rows as aligned text: columns of numbers to the right, others to the left.

    Raises:
        InvalidInput: Rows of different lengths.
    """
    width = len(headers) or (len(rows[0]) if rows else 0)
    if any(len(row) != width for row in rows):
        raise InvalidInput(f"a table of {width} columns got a row of another length")
    cells = [[number(value) for value in row] for row in rows]
    lines = [list(headers), *cells] if headers else cells
    widths = [max((len(line[k]) for line in lines), default=0) for k in range(width)]
    right = [all(_is_number(row[k]) for row in rows) for k in range(width)]

    def line(texts: Sequence[str]) -> str:
        padded = (
            text.rjust(size) if to_right else text.ljust(size)
            for text, size, to_right in zip(texts, widths, right, strict=True)
        )
        return "  ".join(padded).rstrip()

    out = [line(row) for row in lines]
    if headers:
        out.insert(1, "  ".join("-" * size for size in widths))
    return "\n".join(out)


def _span(interval: Sequence[float] | None) -> str:
    return "-" if interval is None else f"{number(float(interval[0]))} .. {number(float(interval[1]))}"


def _is_number(value: Any) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))


@dataclass(frozen=True)
class BenchRow:
    """One measured figure.

    Attributes:
        test, metric, value, unit: What was measured.
        target: What it should reach, like ">= 30" or "<= 0.10", in the same unit; None for information.
        peer: The same figure of another implementation measured in the same run, if there is one.
        interval, peer_interval: (low, high) of 95 % confidence, where it was estimated.
    """

    test: str
    metric: str
    value: float
    unit: str
    target: str | None = None
    peer: float | None = None
    interval: Sequence[float] | None = None
    peer_interval: Sequence[float] | None = None

    @property
    def holds(self) -> bool | None:
        """Whether the target is met; None without a target. A value that is NaN meets none.

        Raises:
            InvalidInput: The target cannot be read.
        """
        if self.target is None:
            return None
        match = re.fullmatch(r"\s*(>=|<=|==|>|<)\s*([-+0-9.eE]+)\s*", self.target)
        try:
            compare, limit = (_COMPARE[match[1]], float(match[2])) if match else (None, math.nan)
        except ValueError:
            compare = None
        if compare is None:
            raise InvalidInput(f"target '{self.target}' of {self.test}: expected like '>= 30'")
        return bool(compare(float(self.value), limit))


@dataclass(frozen=True)
class Findings:
    """Rows with what lists and pictures are made from.

    Attributes:
        details: Mappings, sequences, arrays and scalars.
    """

    rows: Sequence[BenchRow]
    details: Mapping[str, Any]


def bench_report(
    rows: Sequence[BenchRow],
    path: str | Path | None,
    seed: int | None,
    stream: TextIO | None = None,
    details: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Prints the rows as a table and writes them to ``path`` (None: nowhere) with seed and provenance.

    The file is {"rows": [{test, metric, value, unit, target, peer, holds}], "seed", "git_revision",
    "versions", "machine"}, rows with "interval" and "peer_interval" where any has one, and "details" if there
    are any; the same is returned.
    """
    sure = ("interval", "peer_interval") if any(row.interval or row.peer_interval for row in rows) else ()
    headers = ("test", "metric", "value", "unit", "target", "peer", "holds")
    report: dict[str, Any] = {
        "rows": [{key: value for key, value in {**asdict(row), "holds": row.holds}.items() if key in headers + sure}
                 for row in rows],
        "seed": seed,
        **provenance(),
        **({"details": dict(details)} if details else {}),
    }  # fmt: skip
    shown = [[_span(entry[key]) if key in sure else entry[key] for key in headers + sure] for entry in report["rows"]]
    text = table(shown, tuple(key.replace("_", " ") for key in headers + sure))
    print(text, file=stream or sys.stdout)
    if path is not None:
        write_json(path, report)
    return report

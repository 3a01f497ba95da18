"""The measuring of ``bench mip``: parts that are kept in a file, and missing ones measured on a core each.

A part is a function of a fit and of plain arguments. It is kept under a digest of these, of the fit's nets and of the
source that it runs (its own module and those of the bench that this imports, planners, models and tasks), so that it
is found again by any later run for which the same holds, whatever tasks that run names and whatever else was
committed in between.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from benchmarks.cores import available, one_core_each
from benchmarks.mip_fits import Fit
from control_stack.artefacts.runs import plain

_ROOT = Path(__file__).resolve().parents[1]
_LIBRARY = ("controllers/planning", "sim/tasks", "control_stack/learning/*.py", "control_stack/bounds")


@dataclass(frozen=True)
class Part:
    """One thing to measure.

    Attributes:
        work: Called with the fit's folder, if there is a fit, and ``given``; what it returns can be written as JSON.
        fit: Whose nets it plans through; None for none.
        given: Plain values and dataclasses of such.
    """

    work: Callable[..., Any]
    fit: Fit | None
    given: Sequence[Any] = ()

    @property
    def key(self) -> str:
        """Under which it is kept."""
        source = source_digest(self.work.__module__) + library_digest()
        told = [self.work.__qualname__, source, self.fit.digest if self.fit else "", plain(list(self.given))]
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:24]

    def __call__(self) -> tuple[Any, float]:
        """What it finds, and the seconds that it took."""
        began = time.monotonic()
        folder = () if self.fit is None else (self.fit.folder,)
        found = self.work(*folder, *self.given)
        return found, time.monotonic() - began


class Work:
    """Measures parts, and keeps them.

    Args:
        file: With a line for each part; None keeps nothing beyond this run.

    Attributes:
        seconds: That all parts asked for have taken, now or earlier, each on one core.
    """

    def __init__(self, file: Path | None):
        self._file, self._known = file, dict[str, tuple[Any, float]]()
        self._pool: ProcessPoolExecutor | None = None
        self._asked: set[str] = set()
        if file is None or not file.is_file():
            return
        lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
        if lines and not lines[-1].endswith("\n"):  # killed while writing
            lines.pop()
            file.write_text("".join(lines), encoding="utf-8")
        for line in lines:
            key, _, value, seconds = json.loads(line)
            self._known[key] = value, seconds

    @property
    def seconds(self) -> float:
        """See the class."""
        return sum(self._known[key][1] for key in self._asked)

    def __contains__(self, part: Part) -> bool:
        return part.key in self._known

    def __call__(self, parts: Sequence[Part], alone: bool = False) -> list[Any]:
        """What each part finds, as it is read from the file, in order.

        Args:
            alone: One after another, with nothing beside them; else as many at a time as there are ``workers``.
        """
        missing = {part.key: part for part in parts if part not in self}
        try:
            if alone:
                for key, part in missing.items():
                    self._put(key, part, *self._executor().submit(part).result())
            elif missing:
                waiting = {self._executor().submit(part): key for key, part in missing.items()}
                for done in as_completed(waiting):
                    self._put(waiting[done], missing[waiting[done]], *done.result())
        except BaseException:
            self.close()
            raise
        self._asked |= {part.key for part in parts}
        return [self._known[part.key][0] for part in parts]

    def close(self) -> None:
        """Ends the processes; may be called again."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
            self._pool = None

    def _put(self, key: str, part: Part, found: Any, seconds: float) -> None:
        about = [part.work.__name__, part.fit.task if part.fit else ""]
        line = json.dumps([key, about, plain(found), seconds])
        _, _, value, seconds = json.loads(line)
        self._known[key] = value, seconds
        if self._file is not None:
            with self._file.open("a", encoding="utf-8") as out:
                out.write(line + "\n")

    def _executor(self) -> ProcessPoolExecutor:
        if self._pool is None:
            # Pinned: a solver that stops late takes its own planner's time.
            self._pool = one_core_each(workers(), pinned=True)
        return self._pool


def workers() -> int:
    """Parts at a time."""
    return min(2, len(available()))


@cache
def source_digest(module: str) -> str:
    """Of a module of the bench and of all those of it that this one imports."""
    known, waiting = set[str](), [module]
    while waiting:
        name = waiting.pop()
        if name not in known:
            known.add(name)
            waiting += re.findall(r"^\s*from (benchmarks\.mip_\w+) import", _text(name), re.MULTILINE)
    return hashlib.sha256("".join(_text(name) for name in sorted(known)).encode()).hexdigest()


def _text(module: str) -> str:
    return (_ROOT / f"{module.replace('.', '/')}.py").read_text(encoding="utf-8")


@cache
def library_digest() -> str:
    """Of planners, models, bounds and tasks."""
    sha = hashlib.sha256()
    for place in _LIBRARY:
        for file in sorted(_ROOT.glob(place if "*" in place else f"{place}/**/*.py")):
            sha.update(file.relative_to(_ROOT).as_posix().encode() + file.read_bytes())
    return sha.hexdigest()

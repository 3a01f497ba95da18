"""What the groups of ``bench mip`` compute from costs: regrets, intervals of paired ratios, and the record of a run."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from control_stack.artefacts.runs import plain
from control_stack.types import Array

_RESAMPLES = 2000
_LEAST_COST = 1e-3  # below it a regret is relative to this
STRICTLY = 1e-6  # by which a cost must fall, relative to 1 + |cost|, to count as better


def regret(cost: Any, reference: Any) -> Array:
    """(cost - reference) / max(|reference|, 1e-3), elementwise."""
    reference = np.asarray(reference, dtype=float)
    return np.asarray((np.asarray(cost, float) - reference) / np.maximum(np.abs(reference), _LEAST_COST))


def over(own: float, peer: float) -> float:
    """own / peer; of two zeros 0, and inf where the peer alone is zero."""
    if peer > 0.0:
        return own / peer
    return 0.0 if own <= 0.0 else float("inf")


def strictly_less(cost: Any, start: Any) -> Array:
    """Whether a cost lies below a start's by more than rounding."""
    cost, start = np.asarray(cost, float), np.asarray(start, float)
    return np.asarray(cost < start - STRICTLY * (1.0 + np.abs(cost)))


def bootstrap(figure: Callable[..., float], *paired: Array) -> tuple[float, float]:
    """95 % interval of a figure of samples that belong together: all are resampled alike."""
    rng, values = np.random.default_rng(0), [np.asarray(v, dtype=float) for v in paired]
    n = len(values[0])
    found = []
    for _ in range(_RESAMPLES):
        chosen = rng.integers(0, n, n)
        found.append(figure(*(v[chosen] for v in values)))
    low, high = np.percentile(found, [2.5, 97.5]).tolist()
    return low, high


def ratio_of_means(own: Array, peer: Array) -> float:
    """mean / mean."""
    return over(float(np.mean(own)), float(np.mean(peer)))


class Store:
    """What has been measured so far, so that a run that was stopped goes on: a line for each part.

    Args:
        file: None keeps nothing.
        key: Of the run; a file of another run is begun anew.
    """

    def __init__(self, file: Path | None, key: Mapping[str, Any]):
        self._file, self._known = file, dict[str, Any]()
        if file is None:
            return
        header = json.dumps({"key": plain(dict(key))}, sort_keys=True)
        lines = file.read_text(encoding="utf-8").splitlines(keepends=True) if file.is_file() else []
        if not lines or lines[0].rstrip("\n") != header:
            lines = [header + "\n"]
        if not lines[-1].endswith("\n"):  # killed while writing
            lines.pop()
        file.write_text("".join(lines), encoding="utf-8")
        for line in lines[1:]:
            name, value = json.loads(line)
            self._known[name] = value

    def __contains__(self, name: str) -> bool:
        return name in self._known

    def put(self, name: str, value: Any) -> Any:
        """Writes a part down; as it will be read again."""
        text = json.dumps([name, plain(value)])
        self._known[name] = json.loads(text)[1]
        if self._file is not None:
            with self._file.open("a", encoding="utf-8") as out:
                out.write(text + "\n")
        return self._known[name]

    def get(self, name: str, measure: Callable[[], Any]) -> Any:
        """A part, measured if it is not known."""
        return self._known[name] if name in self._known else self.put(name, measure())

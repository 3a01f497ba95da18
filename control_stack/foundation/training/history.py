"""The course of a stage, kept on disk: cost, score and wall time by updates, through all interruptions."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

_EVERY = 10  # updates of worker 0 that one record of the cost is the mean of


class History:
    """Records of one stage, one JSON object a line in ``history.jsonl``.

        {"updates": 10, "seconds": 8.1, "cost": 0.9}    {"updates": 500, "seconds": 400.0, "score": 3.1, "survived": 1}

    Seconds are those of work: time between an interruption and the next run does not count, nor does work that was
    done again.
    """

    def __init__(self, folder: Path):
        self._path = folder / "history.jsonl"
        self.records = read(folder)
        self._costs: list[float] = []
        self._start: float | None = None

    def add(self, rank: int, done: int, value: Any) -> None:
        """Takes a worker's report (``parallel.Report``)."""
        if self._start is None:
            # A resumed stage repeats what came after its last checkpoint.
            self.records = [record for record in self.records if record["updates"] < done]
            self._start = time.monotonic() - self.seconds
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._path.write_text("".join(json.dumps(record) + "\n" for record in self.records), encoding="utf-8")
        if isinstance(value, tuple):
            self._write({"updates": done, "score": value[1], "survived": value[2]})
            return
        self._costs.append(value)
        if rank == 0 and (done % _EVERY == 0 or done == 1):
            self._write({"updates": done, "cost": sum(self._costs) / len(self._costs)})
            self._costs = []

    @property
    def seconds(self) -> float:
        """Of work so far."""
        return max((record["seconds"] for record in self.records), default=0.0)

    def _write(self, record: dict[str, Any]) -> None:
        record["seconds"] = round(time.monotonic() - (self._start or 0.0), 2)
        self.records.append(record)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")


def read(folder: Path) -> list[dict[str, Any]]:
    """Records of a stage; a last line that a kill cut off is left out."""
    path = folder / "history.jsonl"
    records = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        try:
            records.append(json.loads(line))
        except ValueError:
            break
    return records

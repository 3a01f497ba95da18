"""Parts of a long measurement, kept in a file, so that a run that was stopped goes on."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from control_stack.artefacts.runs import plain


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

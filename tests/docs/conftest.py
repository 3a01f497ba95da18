"""Pages as data: their code blocks, tables and commands, so that tests can run and compare them."""

from __future__ import annotations

import itertools
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).resolve().parents[2]
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)
_CELLS = re.compile(r"(?<!\\)\|")


class Page:
    """One markdown page.

    Attributes:
        name: File name without its ending.
        text: All of it.
    """

    def __init__(self, path: Path):
        self.path, self.name, self.text = path, path.stem, path.read_text(encoding="utf-8")

    def blocks(self, language: str) -> list[str]:
        """Contents of the fenced blocks of a language, in order."""
        return [body for found, body in _FENCE.findall(self.text) if found == language]

    def section(self, heading: str) -> str:
        """Text under a heading, up to the next of the same or a higher level."""
        lines, inside, level, out = self.text.splitlines(), False, 0, []
        for line in lines:
            marks = len(line) - len(line.lstrip("#")) if line.startswith("#") else 0
            if inside and 0 < marks <= level:
                break
            if inside:
                out.append(line)
            elif marks and line[marks:].strip() == heading:
                inside, level = True, marks
        assert inside, f"{self.name}.md has no heading '{heading}'"
        return "\n".join(out)

    def table(self, heading: str) -> list[dict[str, str]]:
        """Rows of the first table under a heading, by column name, without backticks."""
        lines = itertools.dropwhile(lambda line: not line.startswith("|"), self.section(heading).splitlines())
        rows = list(itertools.takewhile(lambda line: line.startswith("|"), lines))
        cells = [
            [cell.strip().replace("`", "").replace("\\|", "|") for cell in _CELLS.split(row)[1:-1]] for row in rows
        ]
        header, width = cells[0], len(cells[0])
        assert all(len(row) == width for row in cells), f"ragged table under '{heading}'"
        return [dict(zip(header, row, strict=True)) for row in cells[2:]]


def pages() -> list[Page]:
    """All pages of docs/."""
    return [Page(path) for path in sorted((ROOT / "docs").glob("*.md"))]


@pytest.fixture
def page() -> Callable[[str], Page]:
    """page(name) -> docs/name.md."""
    return lambda name: Page(ROOT / "docs" / f"{name}.md")


@pytest.fixture
def fly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., SimpleNamespace]:
    """fly(*arguments) runs ``control-stack fly --no-ros`` in an empty folder; gives exit code and summary."""
    import json

    from control_stack.cli.main import main

    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> SimpleNamespace:
        out = tmp_path / "run"
        shutil.rmtree(out, ignore_errors=True)
        code = main(["fly", "--no-ros", "--out", str(out), *arguments])
        file = out / "summary.json"
        summary = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
        return SimpleNamespace(code=code, summary=summary, folder=out)

    return run

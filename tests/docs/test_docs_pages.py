"""All pages: links lead somewhere, commands parse, and nothing on them belongs to one machine."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from control_stack.cli.main import build_parser
from control_stack.trajectories import parse_trajectory
from sim.sensors import sensor_preset
from sim.wind import parse_wind

ROOT = Path(__file__).resolve().parents[2]
PAGES = [*sorted((ROOT / "docs").glob("*.md")), ROOT / "README.md"]
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_COMMAND = re.compile(r"^\s*(control-stack [^`\n]*)$", re.M)

pages = pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)


def anchors(path: Path) -> set[str]:
    """Of the headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


@pages
def test_links_lead_to_files_and_headings_that_exist(path: Path) -> None:
    for target in _LINK.findall(path.read_text(encoding="utf-8")):
        if target.startswith("http"):
            continue
        file, _, anchor = target.partition("#")
        there = (path.parent / file).resolve() if file else path
        assert there.exists(), f"{path.name} links to {target}"
        if anchor:
            assert anchor in anchors(there), f"{path.name} links to {target}"


@pages
def test_commands_are_ones_that_the_program_knows(path: Path) -> None:
    """All options exist and have usable values; files in examples are the reader's own."""
    parser = build_parser()
    for command in _COMMAND.findall(path.read_text(encoding="utf-8")):
        if command.split()[1] not in (
            "fly",
            "push",
            "sim",
            "collect",
            "fit",
            "train",
            "airframes",
            "export",
            "bench",
            "doctor",
        ):
            continue
        options = parser.parse_args(shlex.split(command, comments=True)[1:])
        if options.command != "fly":
            continue
        parse_wind(options.wind)
        sensor_preset(options.sensors)
        if ".csv" not in options.trajectory:
            parse_trajectory(options.trajectory)


@pages
def test_pages_are_plain_and_belong_to_no_machine(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.isascii()
    assert not re.search(r"(?<!\w)/(home|work|root|tmp|Users)/", text)
    assert text.count("\n```") % 2 == 0
    assert max(len(line) for line in text.splitlines() if not line.startswith(("|", "ros2"))) <= 130

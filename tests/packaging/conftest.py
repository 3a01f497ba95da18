"""Fixtures of the packaging tests: the repository, its metadata, and a clean copy to build from."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def pyproject() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


@pytest.fixture(scope="session")
def source_copy(tmp_path_factory: pytest.TempPathFactory, pyproject: dict[str, Any]) -> Path:
    """The files that a build reads, alone: build folders and egg-info must not appear in the checkout."""
    target = tmp_path_factory.mktemp("source")
    rooms = [name for name in pyproject["tool"]["setuptools"]["packages"] if "." not in name]
    for folder in (*rooms, "launch", "config", "resource"):
        shutil.copytree(ROOT / folder, target / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "setup.py", "setup.cfg", "package.xml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, target)
    return target

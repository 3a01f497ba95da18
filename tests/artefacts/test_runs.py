"""The folder of a run: never mixed with another, written whole, honest about where the code came from."""

from __future__ import annotations

import json
import math
import os
import platform
import re
import socket
import subprocess
import sys
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import numpy as np
import pytest
import yaml

from control_stack.artefacts import runs
from control_stack.artefacts.runs import RunFolder, git_revision, machine, plain, versions, write_json
from control_stack.errors import InvalidInput
from control_stack.types import CommandLevel


class Shade(Enum):
    DARK = 3


@dataclass(frozen=True)
class Inner:
    gain: np.ndarray
    level: CommandLevel


@dataclass(frozen=True)
class Config:
    inner: Inner
    laps: int
    wind: tuple[float, ...]
    out: Path
    shade: Shade


CONFIG = Config(Inner(np.array([1.0, 2.5]), CommandLevel.CTBR), 2, (0.0, 1.5), Path("runs") / "a", Shade.DARK)


def test_folders_are_named_by_utc_time_and_never_shared(tmp_path):
    made = [RunFolder(base=tmp_path / "runs").path for _ in range(5)]
    assert len(set(made)) == 5
    assert all(re.fullmatch(r"\d{8}T\d{6}Z(-\d+)?", path.name) for path in made)
    assert all(path.is_dir() and path.parent == tmp_path / "runs" for path in made)


def test_a_named_folder_is_made_with_its_parents_or_taken_when_empty(tmp_path):
    assert RunFolder(tmp_path / "a" / "b").path.is_dir()
    assert RunFolder(tmp_path / "a" / "b").path == tmp_path / "a" / "b"


def test_a_folder_in_use_or_a_file_is_refused_in_one_line(tmp_path):
    run = RunFolder(tmp_path / "a")
    run.write_summary({"seed": 1})
    with pytest.raises(InvalidInput, match="not empty") as refused:
        RunFolder(tmp_path / "a")
    assert "\n" not in str(refused.value)
    assert json.loads(run.file("summary.json").read_text()) == {"seed": 1}
    with pytest.raises(InvalidInput, match="is a file"):
        RunFolder(tmp_path / "a" / "summary.json")
    with pytest.raises(InvalidInput, match="cannot make"):
        RunFolder(tmp_path / "a" / "summary.json" / "below")


def test_the_configuration_reads_back_as_plain_values(tmp_path):
    path = RunFolder(tmp_path / "a").write_config(CONFIG)
    assert path.name == "config.yaml"
    assert yaml.safe_load(path.read_text()) == {
        "inner": {"gain": [1.0, 2.5], "level": "ctbr"},
        "laps": 2,
        "wind": [0.0, 1.5],
        "out": os.path.join("runs", "a"),
        "shade": 3,
    }


def test_json_is_strict_whatever_the_numbers(tmp_path):
    data = {
        "rmse": np.float64(0.25),
        "count": np.int32(4),
        "upright": np.bool_(True),
        "cost": math.nan,
        "limits": np.array([1.0, math.inf, -math.inf]),
        "nested": {CommandLevel.ROTORS: (None, "x", np.float32(0.5))},
    }
    path = write_json(tmp_path / "s.json", data)

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    assert json.loads(path.read_text(), parse_constant=refuse) == {
        "rmse": 0.25,
        "count": 4,
        "upright": True,
        "cost": None,
        "limits": [1.0, None, None],
        "nested": {"rotors": [None, "x", 0.5]},
    }


def test_a_write_that_fails_leaves_the_old_file_and_no_litter(tmp_path, monkeypatch):
    path = write_json(tmp_path / "s.json", {"a": 1})
    with pytest.raises(InvalidInput, match="cannot be saved"):
        write_json(path, {"a": object()})

    def broken(source: str, target: Path) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", broken)
    with pytest.raises(OSError, match="disk full"):
        write_json(path, {"a": 2})
    assert json.loads(path.read_text()) == {"a": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["s.json"]


def test_written_files_can_be_read_by_others(tmp_path):
    assert write_json(tmp_path / "s.json", {}).stat().st_mode & 0o777 == 0o644


def test_sets_are_saved_in_order_and_keys_as_text():
    assert plain({1: {"b", "a"}}) == {"1": ["a", "b"]}


@pytest.fixture
def repository(tmp_path):
    def git(*arguments: str) -> str:
        identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
        command = ["git", *identity, "-C", str(tmp_path), *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    git("init", "-q")
    package = tmp_path / "package"
    package.mkdir()
    (package / "a.py").write_text("x = 1\n")
    return tmp_path, package, git


def test_revision_is_the_short_hash_and_says_when_files_have_changed(repository):
    _, package, git = repository
    assert runs._revision_at(package) == "unknown"  # nothing committed yet
    git("add", ".")
    git("commit", "-q", "-m", "first")
    git("tag", "-a", "v9", "-m", "tags do not hide the hash")
    short = git("rev-parse", "--short", "HEAD")
    assert runs._revision_at(package) == short
    (package / "untracked.log").write_text("")
    assert runs._revision_at(package) == short
    (package / "a.py").write_text("x = 2\n")
    assert runs._revision_at(package) == f"{short}-dirty"


def test_a_package_that_another_repository_does_not_track_has_no_revision(repository):
    root, _, git = repository
    git("add", ".")
    git("commit", "-q", "-m", "first")
    installed = root / ".venv" / "site-packages"
    installed.mkdir(parents=True)
    (installed / "b.py").write_text("")
    assert runs._revision_at(installed) == "unknown"


def test_revision_ignores_git_variables_of_the_caller_and_never_raises(repository, tmp_path, monkeypatch):
    _, package, git = repository
    git("add", ".")
    git("commit", "-q", "-m", "first")
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    assert re.fullmatch(r"[0-9a-f]{7,}", runs._revision_at(package))
    assert runs._revision_at(tmp_path / "missing") == "unknown"
    monkeypatch.setenv("PATH", "")
    assert runs._revision_at(package) == "unknown"
    assert isinstance(git_revision(), str)


def test_versions_come_without_importing_anything_heavy():
    code = (
        "import sys, json; from control_stack.artefacts.runs import provenance; p = provenance();"
        "heavy = {'torch', 'casadi', 'pybullet', 'matplotlib'} & set(sys.modules);"
        "print(json.dumps([p['versions'], sorted(heavy)]))"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(runs.__file__).resolve().parents[2])}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    found, imported = json.loads(done.stdout)
    assert imported == []
    assert found["python"] == platform.python_version()
    assert found["numpy"] == np.__version__
    assert found == versions()


def test_the_machine_is_described_without_naming_it():
    told = machine()
    assert set(told) == {"cpu", "cores", "usable_cores", "architecture", "system"}
    assert told["cpu"] and told["cores"] >= told["usable_cores"] >= 1
    text = json.dumps(told)
    host = socket.gethostname()
    assert len(host) < 5 or host not in text
    assert str(Path.home()) not in text or str(Path.home()) == "/"

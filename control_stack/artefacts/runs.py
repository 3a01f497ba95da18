"""The folder that every run leaves behind: resolved configuration, provenance, summary, artefacts."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from datetime import datetime, timezone
from enum import Enum
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from control_stack.errors import InvalidInput

# Reported name -> distributions that may bring it; the first one installed counts.
_PACKAGES = {
    "control-stack": ("control-stack",),
    "numpy": ("numpy",),
    "scipy": ("scipy",),
    "casadi": ("casadi",),
    "pybullet": ("pybullet",),
    "torch": ("torch",),
    "matplotlib": ("matplotlib",),
    "mcap": ("mcap",),
    "rosbags": ("rosbags",),
    "rclpy": ("ros-jazzy-rclpy", "rclpy"),
    "rmw_fastrtps": ("ros-jazzy-rmw-fastrtps-cpp", "rmw-fastrtps-cpp"),
    "cflib": ("cflib",),
    "pymavlink": ("pymavlink",),
}


class RunFolder:
    """One new folder per run: ``base/<UTC stamp>[-n]``, or the one that the user named.

    Attributes:
        path: The folder; it exists and is empty when the object is made.
    """

    def __init__(self, out: str | Path | None = None, base: str | Path = "runs"):
        """Makes the folder. A named one may exist if it is empty: a run never mixes with an older one.

        Raises:
            InvalidInput: ``out`` is empty text, holds something, is a file, or cannot be made.
        """
        if out == "":
            raise InvalidInput("the run folder needs a name, got an empty one")
        try:
            self.path = _new_folder(Path(base)) if out is None else _named_folder(Path(out))
        except OSError as error:
            raise InvalidInput(f"cannot make the run folder {out or base}: {error.strerror}") from None

    def file(self, name: str) -> Path:
        """Path of an artefact in the folder."""
        return self.path / name

    def write_config(self, config: Any) -> Path:
        """Writes config.yaml: the resolved configuration, a mapping or dataclass of values and arrays."""
        text = yaml.safe_dump(plain(config), sort_keys=False, allow_unicode=True)
        return _replace(self.file("config.yaml"), text)

    def write_summary(self, summary: Mapping[str, Any]) -> Path:
        """Writes summary.json in one step: a reader sees the old file or the new one, never half of it."""
        return write_json(self.file("summary.json"), summary)


def write_json(path: str | Path, data: Any) -> Path:
    """Writes strict JSON atomically; NaN and infinity become null, NumPy values plain numbers and lists."""
    return _replace(Path(path), json.dumps(_finite(plain(data)), indent=2, allow_nan=False) + "\n")


def plain(value: Any) -> Any:
    """Nested dicts, lists and scalars of a configuration or result, ready for YAML and JSON.

    Raises:
        InvalidInput: Something inside is no mapping, dataclass, sequence, array, enum, path, scalar or None.
    """
    if value is None or type(value) in (bool, int, float, str):
        return value
    if isinstance(value, Enum):
        return plain(value.value)
    if isinstance(value, np.generic | np.ndarray):
        return plain(value.tolist())
    if isinstance(value, Mapping):
        return {str(plain(key)): plain(item) for key, item in value.items()}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in (sorted(value) if isinstance(value, set | frozenset) else value)]
    for kind in (bool, int, float, str):
        if isinstance(value, kind):
            return kind(value)
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    raise InvalidInput(f"a {type(value).__name__} cannot be saved with a run")


def provenance() -> dict[str, Any]:
    """Git revision, versions and machine, as every artefact carries them."""
    return {"git_revision": git_revision(), "versions": versions(), "machine": machine()}


@lru_cache(maxsize=1)
def git_revision() -> str:
    """Short hash of the commit that this package is run from, "-dirty" added when tracked files have changed.

    "unknown" when it is not run from a checkout of its own: a wheel in a virtual environment that happens to
    lie in someone else's repository is not tracked there, so that repository's hash is not reported.
    """
    return _revision_at(Path(__file__).resolve().parent)


def _revision_at(folder: Path) -> str:
    # A git hook or an outer git command sets GIT_DIR and friends, which would point at another repository.
    environment = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(folder), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=5.0, check=True, env=environment)
        return done.stdout.strip()

    try:
        if not git("ls-files", "--", "."):
            return "unknown"
        return git("describe", "--always", "--dirty", "--exclude=*") or "unknown"
    except (OSError, subprocess.SubprocessError):
        return "unknown"


def versions() -> dict[str, str]:
    """Python and the installed packages that can change a result, from their metadata, without importing."""
    found = {"python": platform.python_version()}
    for name, distributions in _PACKAGES.items():
        for distribution in distributions:
            try:
                found[name] = metadata.version(distribution)
                break
            except metadata.PackageNotFoundError:
                continue
    return found


def machine() -> dict[str, Any]:
    """CPU model, cores (all, and those this process may use), architecture and system; nothing personal."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "usable_cores": usable,
        "architecture": platform.machine(),
        "system": _system(),
    }


def _cpu_model() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            key, _, value = line.partition(":")
            if key.strip() in ("model name", "Model"):
                return value.strip()
    except (OSError, UnicodeDecodeError):
        pass
    return platform.processor() or "unknown"


def _system() -> str:
    try:
        name = platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        name = sys.platform
    return f"{name}, kernel {platform.release()}"


def _new_folder(base: Path) -> Path:
    stamp = datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%SZ")
    base.mkdir(parents=True, exist_ok=True)
    n = 1
    while True:
        path = base / (stamp if n == 1 else f"{stamp}-{n}")
        try:
            path.mkdir()
        except FileExistsError:  # another run of the same second
            n += 1
        else:
            return path


def _named_folder(path: Path) -> Path:
    if path.exists() and not path.is_dir():
        raise InvalidInput(f"output folder {path} is a file")
    path.mkdir(parents=True, exist_ok=True)
    if any(path.iterdir()):
        raise InvalidInput(f"output folder {path} is not empty: name another, or remove it first")
    return path


def _replace(path: Path, text: str) -> Path:
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(temporary, 0o644)  # mkstemp makes it private; a run is meant to be read
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
    return path


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value

"""Launch files and other files outside of packages, as modules, and what they are asked in tests."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


def module_at(path: Path) -> ModuleType:
    """The module in a file that cannot be imported by name."""
    spec = importlib.util.spec_from_file_location(path.name.partition(".")[0], path)
    module = importlib.util.module_from_spec(spec)  # type: ignore[arg-type]
    spec.loader.exec_module(module)  # type: ignore[union-attr]
    return module


def launch_file(name: str) -> ModuleType:
    """launch/NAME.launch.py."""
    return module_at(ROOT / "launch" / f"{name}.launch.py")


def values(launched: ModuleType, **changes: str) -> dict[str, str]:
    """Argument -> text: the defaults with changes."""
    return {argument.name: argument.default for argument in launched.arguments()} | changes


def usable(parameter: Any, value: Any) -> bool:
    """Whether a node takes this value: rclpy wants the very type, and the declaration may bound it."""
    low, high = parameter.limits or (-float("inf"), float("inf"))
    fits = isinstance(value, str) or not parameter.limits or low <= value <= high
    return type(value) is type(parameter.default) and fits and value in (parameter.choices or [value])

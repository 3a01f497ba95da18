"""Tables of the docs against what they tell of."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import yaml


def check_parameters(table: list[dict[str, str]], declared: dict[str, Any]) -> None:
    """Parameter, default, range and meaning of a node's parameters, all and no more."""
    rows = {row["parameter"]: row for row in table}
    assert set(rows) == set(declared)
    for name, parameter in declared.items():
        row = rows[name]
        value = yaml.safe_load(row["default"])
        assert value == parameter.default and type(value) is type(parameter.default), name
        if parameter.choices:
            assert {choice.strip() for choice in row["range"].split(",")} == set(parameter.choices), name
        elif parameter.limits:
            assert tuple(float(end) for end in row["range"].split("..")) == parameter.limits, name
        else:
            assert not row["range"], name
        assert row["meaning"]
        assert ("in flight to" in row["meaning"]) == (not parameter.read_only), name


def check_launch_arguments(table: list[dict[str, str]], launched: ModuleType) -> None:
    """Argument, default and choices of a launch file, all and no more."""
    rows = {row["argument"]: row for row in table}
    real = {argument.name: argument for argument in launched.arguments()}
    assert set(rows) == set(real)
    for name, argument in real.items():
        assert tuple(c.strip() for c in rows[name]["choices"].split(",") if c.strip()) == argument.choices
        assert rows[name]["default"].removesuffix(" in share") == argument.default

"""What push.launch.py composes: executables that exist, parameters that the nodes declare."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from controllers.planning.factory import PLANNERS


@pytest.fixture(scope="module")
def push(root: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("push_launch", root / "launch" / "push.launch.py")
    module = importlib.util.module_from_spec(spec)  # type: ignore[arg-type]
    spec.loader.exec_module(module)  # type: ignore[union-attr]
    return module


def defaults(push: ModuleType, **changes: str) -> dict[str, str]:
    return {argument.name: argument.default for argument in push.arguments()} | changes


def test_every_argument_is_described_and_its_default_is_a_choice(push: ModuleType) -> None:
    for argument in push.arguments():
        assert argument.description and (not argument.choices or argument.default in argument.choices)


def test_choices_are_what_the_command_takes(push: ModuleType) -> None:
    from control_stack.cli.push import PUSHED

    choices = {argument.name: argument.choices for argument in push.arguments()}
    assert choices["controller"] == PLANNERS and choices["task"] == PUSHED


def test_executables_are_console_scripts(push: ModuleType, pyproject: dict[str, Any]) -> None:
    table, planner = push.composition(defaults(push, namespace="lab"))
    assert (table.name, planner.name) == ("task", "planner") and table.owns_world and not planner.owns_world
    assert {table.executable, planner.executable} <= set(pyproject["project"]["scripts"])
    assert table.namespace == planner.namespace == "lab"


def test_arguments_set_declared_parameters_to_usable_values(push: ModuleType) -> None:
    pytest.importorskip("rclpy")
    from controllers.planning import node as planner
    from sim.tasks import node as task

    for spec, node in zip(push.composition(defaults(push, lockstep="false")), (task, planner), strict=True):
        declared = {p.name: p for p in node.PARAMETERS}
        assert set(spec.parameters) <= set(declared)
        for name, value in spec.parameters.items():
            parameter = declared[name]
            assert type(value) is type(parameter.default) and value in (parameter.choices or [value])
    assert spec.parameters["lockstep"] is False


def test_the_description_is_built_where_launch_is_installed(push: ModuleType) -> None:
    pytest.importorskip("launch_ros")
    assert len(push.generate_launch_description().entities) == len(push.arguments()) + 1

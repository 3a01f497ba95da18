"""What arm.launch.py composes: executables that exist, parameters that the nodes declare."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from controllers.arm.factory import CONTROLLERS
from controllers.arm.models import ESTIMATORS, NONE, OWN


@pytest.fixture(scope="module")
def launched(root: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("arm_launch", root / "launch" / "arm.launch.py")
    module = importlib.util.module_from_spec(spec)  # type: ignore[arg-type]
    spec.loader.exec_module(module)  # type: ignore[union-attr]
    return module


def values(launched: ModuleType, **changes: str) -> dict[str, str]:
    return {argument.name: argument.default for argument in launched.arguments()} | changes


def test_every_argument_is_described_and_its_default_is_a_choice(launched: ModuleType) -> None:
    for argument in launched.arguments():
        assert argument.description and (not argument.choices or argument.default in argument.choices)


def test_choices_are_what_the_node_takes(launched: ModuleType) -> None:
    choices = {argument.name: argument.choices for argument in launched.arguments()}
    assert choices["controller"] == CONTROLLERS and choices["estimator"] == (OWN, NONE, *ESTIMATORS)


def test_executables_are_console_scripts(launched: ModuleType, pyproject: dict[str, Any]) -> None:
    arm, controller = launched.composition(values(launched, namespace="lab"))
    assert (arm.name, controller.name) == ("arm", "controller") and arm.owns_world and not controller.owns_world
    assert {arm.executable, controller.executable} <= set(pyproject["project"]["scripts"])
    assert arm.namespace == controller.namespace == "lab"


def test_arguments_set_declared_parameters_to_usable_values(launched: ModuleType) -> None:
    pytest.importorskip("rclpy")
    from controllers.arm import node as controller
    from sim.arm import node as arm

    for spec, node in zip(launched.composition(values(launched, lockstep="false")), (arm, controller), strict=True):
        declared = {p.name: p for p in node.PARAMETERS}
        assert set(spec.parameters) <= set(declared)
        for name, value in spec.parameters.items():
            parameter = declared[name]
            assert type(value) is type(parameter.default) and value in (parameter.choices or [value])
    assert spec.parameters["lockstep"] is False

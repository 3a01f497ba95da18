"""What launch/fly.launch.py composes, and, where ROS launch is installed, that it builds."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml


@pytest.fixture(scope="module")
def fly(root: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("fly_launch", root / "launch" / "fly.launch.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def defaults(fly: ModuleType, **changes: str) -> dict[str, str]:
    return {argument.name: argument.default for argument in fly.arguments()} | changes


def test_arguments_are_the_documented_ones(fly: ModuleType) -> None:
    names = {argument.name for argument in fly.arguments()}
    assert names == {"backend", "controller", "vehicle", "namespace", "params_file", "use_sim_time"}


def test_every_argument_is_described_and_its_default_is_a_choice(fly: ModuleType) -> None:
    for argument in fly.arguments():
        assert argument.description
        assert not argument.choices or argument.default in argument.choices


def test_only_free_text_goes_without_choices(fly: ModuleType) -> None:
    assert {a.name for a in fly.arguments() if not a.choices} == {"namespace", "params_file"}


def test_vehicle_choices_are_the_shipped_vehicles(fly: ModuleType, root: Path) -> None:
    (vehicle,) = (argument for argument in fly.arguments() if argument.name == "vehicle")
    shipped = {path.stem for path in (root / "control_stack" / "vehicles").glob("*.yaml")}
    assert set(vehicle.choices) == shipped | {fly.FROM_FILE}


def test_default_composition(fly: ModuleType) -> None:
    vehicle, controller = fly.composition(defaults(fly))
    assert (vehicle.executable, controller.executable) == ("sim_node", "controller_node")
    assert vehicle.parameters == {"vehicle": "crazyflie"}
    assert controller.parameters == {"controller": "geometric", "vehicle": "crazyflie", "use_sim_time": True}
    assert vehicle.ends_launch and not controller.ends_launch


def test_executables_are_console_scripts(fly: ModuleType, pyproject: dict[str, Any]) -> None:
    for spec in fly.composition(defaults(fly)):
        assert spec.executable in pyproject["project"]["scripts"]


def test_namespace_and_file_reach_both_nodes(fly: ModuleType) -> None:
    for spec in fly.composition(defaults(fly, namespace="cf1", params_file="mine.yaml")):
        assert (spec.namespace, spec.params_file) == ("cf1", "mine.yaml")


def test_from_params_file_overrides_nothing(fly: ModuleType) -> None:
    changed = defaults(fly, controller=fly.FROM_FILE, vehicle=fly.FROM_FILE, use_sim_time="false")
    vehicle, controller = fly.composition(changed)
    assert vehicle.parameters == {}
    assert controller.parameters == {"use_sim_time": False}


def test_parameter_file_names_only_nodes_that_are_started(fly: ModuleType, root: Path) -> None:
    shipped = yaml.safe_load((root / "config" / "fly.yaml").read_text())
    started = {f"/**/{spec.executable}" for spec in fly.composition(defaults(fly))}
    assert set(shipped) <= started | {"/**"}
    for section in shipped.values():
        assert set(section) == {"ros__parameters"}


def test_launch_description_builds(fly: ModuleType) -> None:
    pytest.importorskip("launch_ros")
    description = fly.generate_launch_description()
    declared = {argument.name for argument in description.get_launch_arguments()}
    assert declared == {argument.name for argument in fly.arguments()}

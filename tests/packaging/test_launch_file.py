"""What the launch files compose, and, where ROS launch is installed, that they build."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from launch_files import launch_file, usable, values

LINKS = ("crazyflie", "px4")


@pytest.fixture(scope="module")
def fly() -> ModuleType:
    return launch_file("fly")


def test_arguments_are_the_documented_ones(fly: ModuleType) -> None:
    names = {argument.name for argument in fly.arguments()}
    assert names == {
        "backend", "uri", "arm", "simulator", "controller", "model", "estimator", "fallback", "filter", "verify",
        "vehicle", "namespace", "params_file", "use_sim_time",
    }  # fmt: skip


@pytest.mark.parametrize("name", ["fly", "arm", "push"])
def test_every_argument_is_described_and_its_default_is_a_choice(name: str) -> None:
    for argument in launch_file(name).arguments():
        assert argument.description
        assert not argument.choices or argument.default in argument.choices


def test_only_free_text_goes_without_choices(fly: ModuleType) -> None:
    free = {"uri", "model", "fallback", "filter", "verify", "namespace", "params_file"}
    assert {a.name for a in fly.arguments() if not a.choices} == free


def test_vehicle_choices_are_the_shipped_vehicles(fly: ModuleType, root: Path) -> None:
    (vehicle,) = (argument for argument in fly.arguments() if argument.name == "vehicle")
    shipped = {path.stem for path in (root / "control_stack" / "vehicles").glob("*.yaml")}
    assert set(vehicle.choices) == shipped | {fly.OWN, fly.FROM_FILE}


def test_what_nmpc_plans_and_estimates_is_in_its_name_and_refused_for_others(fly: ModuleType) -> None:
    _, controller = fly.composition(values(fly, controller="nmpc", model="fit/x500", estimator="force"))
    name, _, path = controller.parameters["controller"].partition("model=")
    assert name == "nmpc:estimator=force," and Path(path) == Path("fit/x500").absolute()
    _, controller = fly.composition(values(fly, controller="nmpc", estimator="wind"))
    assert controller.parameters["controller"] == "nmpc:estimator=wind"
    with pytest.raises(ValueError, match="nmpc"):
        fly.composition(values(fly, model="fit/x500"))


def test_filter_verify_and_fallback_reach_the_controller_alone(fly: ModuleType) -> None:
    asked = {"filter": "yard.yaml", "verify": "box.json", "fallback": "geometric,lqr"}
    vehicle, controller = fly.composition(values(fly, **asked))
    told = {name: controller.parameters[name] for name in asked}
    files = {name: str(Path(asked[name]).absolute()) for name in ("filter", "verify")}
    assert told == {**asked, **files} and not set(asked) & set(vehicle.parameters)
    _, controller = fly.composition(values(fly))
    assert not set(asked) & set(controller.parameters)  # params_file's word stands


def test_gp_cem_plans_in_the_scene_that_the_filter_guards(fly: ModuleType) -> None:
    _, controller = fly.composition(values(fly, controller="gp_cem", filter="yard.yaml"))
    assert controller.parameters["controller"] == f"gp_cem:filter={controller.parameters['filter']}"
    _, controller = fly.composition(values(fly, controller="gp_cem"))
    assert controller.parameters["controller"] == "gp_cem"
    _, controller = fly.composition(values(fly, controller=fly.FROM_FILE, filter="yard.yaml"))
    assert set(controller.parameters) == {"vehicle", "filter", "use_sim_time"}


def test_default_composition(fly: ModuleType) -> None:
    vehicle, controller = fly.composition(values(fly))
    assert (vehicle.executable, controller.executable) == ("sim_node", "controller_node")
    assert (vehicle.name, controller.name) == ("sim", "controller")
    assert vehicle.parameters == {"vehicle": "crazyflie", "backend": "bullet"}
    assert controller.parameters == {"controller": "geometric", "vehicle": "crazyflie", "use_sim_time": True}
    assert vehicle.ends_launch and not controller.ends_launch


@pytest.mark.parametrize(("backend", "own"), [("crazyflie", "crazyflie"), ("px4", "x500")])
def test_composition_of_a_real_vehicle(fly: ModuleType, backend: str, own: str) -> None:
    """Only the back end differs; nothing arms unless it is asked for."""
    vehicle, controller = fly.composition(values(fly, backend=backend))
    assert (vehicle.executable, vehicle.name) == ("hardware_node", "hardware")
    assert vehicle.parameters == {"vehicle": own, "backend": backend, "arm": False}
    assert controller.parameters["vehicle"] == own and controller.parameters["lockstep"] is False
    assert controller.parameters["driven_by"] == "states" and controller.parameters["use_sim_time"] is False
    assert vehicle.ends_launch and not controller.ends_launch
    told, _ = fly.composition(values(fly, backend=backend, arm="true", uri="somewhere"))
    assert told.parameters == {**vehicle.parameters, "arm": True, "uri": "somewhere"}


def test_back_ends_and_their_levels_are_the_drivers(fly: ModuleType) -> None:
    pytest.importorskip("cflib")
    pytest.importorskip("pymavlink")
    from control_stack.quadrotor.parameters import load_vehicle
    from hardware.factory import BACKENDS, make_vehicle

    assert fly.VEHICLES == {"sim": "crazyflie"} | {name: found.vehicle for name, found in BACKENDS.items()}
    for name, found in BACKENDS.items():
        spec = make_vehicle(name, load_vehicle(found.vehicle)).spec
        assert {level.value for level in spec.levels} == set(fly.LINK_LEVELS)


@pytest.mark.parametrize("backend", LINKS)
def test_the_thin_files_name_their_back_end(fly: ModuleType, backend: str) -> None:
    assert launch_file(backend).BACKEND == backend in fly.VEHICLES


@pytest.mark.parametrize("backend", ["sim", *LINKS])
def test_executables_are_console_scripts(fly: ModuleType, pyproject: dict[str, Any], backend: str) -> None:
    for spec in fly.composition(values(fly, backend=backend)):
        assert spec.executable in pyproject["project"]["scripts"]


def test_namespace_and_file_reach_both_nodes(fly: ModuleType) -> None:
    for spec in fly.composition(values(fly, namespace="cf1", params_file="mine.yaml")):
        assert (spec.namespace, spec.params_file) == ("cf1", "mine.yaml")


def test_from_params_file_overrides_nothing(fly: ModuleType) -> None:
    free = {argument.name: fly.FROM_FILE for argument in fly.arguments() if fly.FROM_FILE in argument.choices}
    vehicle, controller = fly.composition(values(fly, **free, use_sim_time="false"))
    assert vehicle.parameters == {}
    assert controller.parameters == {"use_sim_time": False}
    vehicle, _ = fly.composition(values(fly, **free, backend="px4"))
    assert vehicle.parameters == {"backend": "px4"}


@pytest.fixture(scope="module")
def declared() -> dict[str, dict[str, Any]]:
    """Node -> parameter -> its declaration, for the nodes of this package."""
    pytest.importorskip("rclpy")
    from control_stack.ros.lifecycle import AUTOSTART
    from control_stack.ros.vehicle_node import VEHICLE_PARAMETERS
    from controllers import node as controller
    from hardware import node as hardware
    from sim import node as sim

    tuples = {
        "sim": (*sim.PARAMETERS, *VEHICLE_PARAMETERS),
        "hardware": (*hardware.PARAMETERS, *VEHICLE_PARAMETERS),
        "controller": controller.PARAMETERS,
    }
    return {node: {p.name: p for p in (*parameters, AUTOSTART)} for node, parameters in tuples.items()}


@pytest.mark.parametrize("backend", ["sim", *LINKS])
def test_arguments_set_declared_parameters_to_usable_values(
    fly: ModuleType, declared: dict[str, dict[str, Any]], backend: str
) -> None:
    for argument in fly.arguments():
        for choice in argument.choices or ("something",):
            # Of all controllers nmpc takes every argument.
            changes = {"backend": backend, "controller": "nmpc", argument.name: choice}
            for spec in fly.composition(values(fly, **changes)):
                own = {key: value for key, value in spec.parameters.items() if key != "use_sim_time"}
                assert set(own) <= set(declared[spec.name])
                assert all(usable(declared[spec.name][key], value) for key, value in own.items())


def test_simulator_choices_are_the_backends(fly: ModuleType, declared: dict[str, dict[str, Any]]) -> None:
    (simulator,) = (argument for argument in fly.arguments() if argument.name == "simulator")
    assert set(simulator.choices) == {*declared["sim"]["backend"].choices, fly.FROM_FILE}


def test_parameter_file_names_only_nodes_that_are_started(fly: ModuleType, root: Path) -> None:
    shipped = yaml.safe_load((root / "config" / "fly.yaml").read_text())
    started = {f"/**/{spec.name}" for backend in fly.VEHICLES for spec in fly.composition(values(fly, backend=backend))}
    assert set(shipped) <= started | {"/**"}
    for section in shipped.values():
        assert set(section) == {"ros__parameters"}


def test_parameter_file_sets_declared_parameters_to_usable_values(
    root: Path, declared: dict[str, dict[str, Any]]
) -> None:
    shipped = yaml.safe_load((root / "config" / "fly.yaml").read_text())
    for section, content in shipped.items():
        nodes = list(declared) if section == "/**" else [section.removeprefix("/**/")]
        for node in nodes:
            for key, value in content["ros__parameters"].items():
                assert key in declared[node], f"{node} does not declare {key}"
                assert usable(declared[node][key], value), f"{node} does not take {key}: {value!r}"


@pytest.mark.parametrize("namespace", ["", "cf1"])
def test_parameter_file_reaches_the_nodes(
    root: Path, declared: dict[str, dict[str, Any]], namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """rclpy's own reading of the file: which section applies to which node, in a namespace or in none."""
    import rclpy
    from rclpy.node import Node

    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "OFF")
    shipped = yaml.safe_load((root / "config" / "fly.yaml").read_text())
    context = rclpy.Context()
    arguments = ["--ros-args", "--params-file", str(root / "config" / "fly.yaml")]
    rclpy.init(args=arguments, context=context)
    try:
        for name in declared:
            node = Node(name, namespace=namespace, context=context)
            found = {key: parameter.value for key, parameter in node._parameter_overrides.items()}
            node.destroy_node()
            sections = (shipped["/**"], shipped[f"/**/{name}"])
            assert found == {k: v for section in sections for k, v in section["ros__parameters"].items()}
    finally:
        rclpy.try_shutdown(context=context)


@pytest.mark.parametrize("name", ["fly", "arm", "push", *LINKS])
def test_launch_description_builds(name: str) -> None:
    pytest.importorskip("launch_ros")
    description = launch_file(name).generate_launch_description()
    declared = {argument.name for argument in description.get_launch_arguments()}
    assert declared == {argument.name for argument in launch_file("fly" if name in LINKS else name).arguments()}

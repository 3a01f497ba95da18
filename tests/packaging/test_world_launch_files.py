"""What arm.launch.py and push.launch.py compose: executables that exist, parameters that the nodes declare."""

from __future__ import annotations

import importlib
from typing import Any

import pytest
from launch_files import launch_file, usable, values

NODES = {
    "arm": {"arm": "sim.arm.node", "controller": "controllers.arm.node"},
    "push": {"task": "sim.tasks.node", "planner": "controllers.planning.node"},
}


@pytest.mark.parametrize("name", NODES)
def test_executables_are_console_scripts_and_the_launch_ends_with_the_world(
    name: str, pyproject: dict[str, Any]
) -> None:
    launched = launch_file(name)
    specs = launched.composition(values(launched, namespace="lab"))
    assert [(spec.name, spec.ends_launch, spec.namespace) for spec in specs] == [
        (node, first, "lab") for node, first in zip(NODES[name], (True, False), strict=True)
    ]
    for spec in specs:
        assert pyproject["project"]["scripts"][spec.executable] == f"{NODES[name][spec.name]}:main"


@pytest.mark.parametrize("name", NODES)
def test_arguments_set_declared_parameters_to_usable_values(name: str) -> None:
    pytest.importorskip("rclpy")
    launched = launch_file(name)
    for spec in launched.composition(values(launched, lockstep="false")):
        declared = {p.name: p for p in importlib.import_module(NODES[name][spec.name]).PARAMETERS}
        assert set(spec.parameters) <= set(declared)
        assert all(usable(declared[key], value) for key, value in spec.parameters.items())
        assert spec.parameters["lockstep"] is False


def test_choices_are_what_the_commands_take() -> None:
    from control_stack.cli.push import PUSHED
    from controllers.arm.factory import CONTROLLERS
    from controllers.arm.models import ESTIMATORS, NONE, OWN
    from controllers.planning.factory import PLANNERS

    arm, push = (
        {argument.name: argument.choices for argument in launch_file(name).arguments()} for name in ("arm", "push")
    )
    assert arm["controller"] == CONTROLLERS and arm["estimator"] == (OWN, NONE, *ESTIMATORS)
    assert push["controller"] == PLANNERS and push["task"] == PUSHED

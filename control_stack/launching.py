"""What the launch files are written in: arguments and processes as plain data, and ROS's description of them.

launch is imported only where a description is built, so that what gets started is tested on machines without a ROS
installation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from control_stack.threads import blas_threads

PACKAGE = "control_stack"


class Argument(NamedTuple):
    """One launch argument; no choices means free text."""

    name: str
    default: Any  # text, or a substitution
    description: str
    choices: tuple[str, ...] = ()


class NodeSpec(NamedTuple):
    """One process: an executable of this package, its node, and the parameters that arguments decide.

    Attributes:
        ends_launch: Whether the launch ends with it: it owns the vehicle or the world.
        params_file: Of parameters that come before these; None for none.
        patience: s that it may take to end before it is told again.
    """

    executable: str
    name: str
    namespace: str
    parameters: Mapping[str, Any]
    ends_launch: bool
    params_file: str | None = None
    patience: float = 5.0


def described(arguments: Sequence[Argument], composition: Callable[[Mapping[str, str]], Sequence[NodeSpec]]) -> Any:
    """The LaunchDescription of these arguments and the processes that their values (name -> text, complete) ask for."""
    from launch import LaunchDescription
    from launch.actions import DeclareLaunchArgument, OpaqueFunction, Shutdown
    from launch.substitutions import LaunchConfiguration
    from launch_ros.actions import Node
    from launch_ros.parameter_descriptions import ParameterFile

    def start(context: Any) -> list[Any]:
        values = {argument.name: LaunchConfiguration(argument.name).perform(context) for argument in arguments}
        return [
            Node(
                package=PACKAGE,
                executable=spec.executable,
                name=spec.name,
                namespace=spec.namespace,
                parameters=[
                    *([ParameterFile(spec.params_file)] if spec.params_file is not None else []),
                    dict(spec.parameters),
                ],
                output="screen",
                additional_env=blas_threads(),
                on_exit=Shutdown() if spec.ends_launch else None,
                sigterm_timeout=f"{spec.patience:g}",
            )
            for spec in composition(values)
        ]

    declared = [
        DeclareLaunchArgument(
            argument.name,
            default_value=argument.default,
            description=argument.description,
            choices=list(argument.choices) or None,
        )
        for argument in arguments
    ]
    return LaunchDescription([*declared, OpaqueFunction(function=start)])


def included(file: Path, **values: str) -> Any:
    """The LaunchDescription of another file with some of its arguments given."""
    from launch import LaunchDescription
    from launch.actions import IncludeLaunchDescription
    from launch.launch_description_sources import PythonLaunchDescriptionSource

    # A plain path, which --show-args can follow as well.
    source = PythonLaunchDescriptionSource(str(file))
    return LaunchDescription([IncludeLaunchDescription(source, launch_arguments=values.items())])

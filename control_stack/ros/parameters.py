"""Declared parameters: every one with type, default, description and, where it has them, choices or a range."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor, SetParametersResult
from rclpy.node import Node
from rclpy.parameter import Parameter

from control_stack.errors import InvalidInput, UnknownName

_OF_RCLPY = ("use_sim_time", "start_type_description_service")


@dataclass(frozen=True)
class Declared:
    """One parameter. ``limits`` bounds numbers, ``choices`` names the allowed strings."""

    name: str
    default: Any
    description: str
    choices: tuple[str, ...] = ()
    limits: tuple[float, float] | None = None
    read_only: bool = True


def declare(node: Node, parameters: Sequence[Declared]) -> None:
    """Declares all of them and refuses overrides of any other name: rclpy would ignore those silently.

    Raises:
        UnknownName: An override that nobody declared.
        InvalidInput: An override of the wrong type, out of range or not among the choices.
    """
    names = [p.name for p in parameters]
    # rclpy offers no public view of the overrides it was given.
    for override in node._parameter_overrides:
        if override not in names and override not in _OF_RCLPY and not override.startswith("qos_overrides."):
            raise UnknownName(f"parameter of {node.get_name()}", override, names)
    for p in parameters:
        descriptor = ParameterDescriptor(description=p.description, read_only=p.read_only)
        if p.choices:
            descriptor.additional_constraints = f"one of: {', '.join(p.choices)}"
        if p.limits is not None and isinstance(p.default, float):
            descriptor.floating_point_range = [FloatingPointRange(from_value=p.limits[0], to_value=p.limits[1])]
        elif p.limits is not None:
            descriptor.integer_range = [IntegerRange(from_value=int(p.limits[0]), to_value=int(p.limits[1]))]
        try:
            value = node.declare_parameter(p.name, p.default, descriptor).value
        except Exception as error:  # rclpy raises several unrelated types here
            raise InvalidInput(f"parameter '{p.name}' ({p.description}): {error}") from None
        if p.choices and value not in p.choices:
            raise UnknownName(f"value of parameter {p.name}", str(value), p.choices)

    def check(changes: list[Parameter]) -> SetParametersResult:
        for change in changes:
            known = next((p for p in parameters if p.name == change.name), None)
            if known is not None and known.choices and change.value not in known.choices:
                return SetParametersResult(
                    successful=False, reason=f"{change.name} must be one of: {', '.join(known.choices)}"
                )
        return SetParametersResult(successful=True)

    node.add_on_set_parameters_callback(check)

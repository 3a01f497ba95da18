"""Declared parameters: every one with type, default, description and, where it has them, choices or a range."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor, SetParametersResult
from rclpy.node import Node
from rclpy.parameter import Parameter

from control_stack.errors import ControlStackError, InvalidInput, UnknownName

_OF_RCLPY = ("use_sim_time", "start_type_description_service")
_WORDS: dict[type, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number with a decimal point, as 1.0",
    str: "text",
    list: "a list of texts",
}


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
    overrides = node._parameter_overrides
    for override in overrides:
        if override not in names and override not in _OF_RCLPY and not override.startswith("qos_overrides."):
            raise UnknownName(f"parameter of {node.get_name()}", override, names)
    for p in parameters:
        if p.name in overrides:
            _check(p, overrides[p.name].value)
        descriptor = ParameterDescriptor(description=p.description, read_only=p.read_only)
        if p.choices:
            descriptor.additional_constraints = f"one of: {', '.join(p.choices)}"
        if p.limits is not None and isinstance(p.default, float):
            descriptor.floating_point_range = [FloatingPointRange(from_value=p.limits[0], to_value=p.limits[1])]
        elif p.limits is not None:
            descriptor.integer_range = [IntegerRange(from_value=int(p.limits[0]), to_value=int(p.limits[1]))]
        node.declare_parameter(p.name, p.default, descriptor)

    def check(changes: list[Parameter]) -> SetParametersResult:
        for change in changes:
            known = next((p for p in parameters if p.name == change.name), None)
            try:
                if known is not None:
                    _check(known, change.value)
            except ControlStackError as error:
                return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)

    node.add_on_set_parameters_callback(check)


def _check(p: Declared, value: Any) -> None:
    """Type, choices and limits, in our own words: rclpy's name its constants. Raises as ``declare``."""
    name, kind = f"parameter {p.name} ({p.description})", type(p.default)
    if kind is list:
        fits = isinstance(value, list | tuple) and all(isinstance(item, str) for item in value)
    else:
        fits = type(value) is kind
    if not fits:
        raise InvalidInput(f"{name} must be {_WORDS[kind]}, got {value!r}")
    if p.choices and value not in p.choices:
        raise UnknownName(f"value of parameter {p.name}", value, p.choices)
    if p.limits is not None and not p.limits[0] <= value <= p.limits[1]:
        raise InvalidInput(f"{name} must be from {p.limits[0]:.10g} to {p.limits[1]:.10g}, got {value:.10g}")

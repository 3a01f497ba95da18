"""Linear constraints in a file: by name, what is added up of states and inputs, and between which limits.

wall:                                # not beyond 0.2 m
  terms: {"pusher.x [m]": 1.0}
  upper: 0.2
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from control_stack.errors import InvalidInput
from control_stack.protocols import DynamicsSpec
from controllers.planning.problem import LinearConstraint

_KEYS = {"terms", "lower", "upper"}


def read_constraints(path: str | Path, spec: DynamicsSpec) -> tuple[LinearConstraint, ...]:
    """The constraints in a YAML file, of a model with this spec.

    Raises:
        InvalidInput: No such file, or not of that form.
        UnknownName: A state or input that the model does not have.
    """
    file = Path(path)
    try:
        stored = yaml.safe_load(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidInput(f"cannot read the constraints {file}: {error.strerror}") from None
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise InvalidInput(f"{file}: not valid YAML: {str(error).splitlines()[0]}") from None
    if not isinstance(stored, dict):
        raise InvalidInput(f"{file}: expected constraints by name, each with terms, lower and upper")
    return tuple(_read(file, str(name), of, spec) for name, of in stored.items())


def _read(file: Path, name: str, of: Any, spec: DynamicsSpec) -> LinearConstraint:
    wrong = sorted(map(str, set(of) - _KEYS)) if isinstance(of, dict) else []
    if not isinstance(of, dict) or wrong or not isinstance(of.get("terms"), dict):
        what = f"no '{wrong[0]}'" if wrong else "terms are factors by state or input"
        raise InvalidInput(f"{file}: constraint '{name}': {what}; keys are terms, lower and upper")
    given = {"lower": -float("inf"), "upper": float("inf")} | {k: v for k, v in of.items() if k != "terms"}
    for key, value in {**given, **of["terms"]}.items():
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise InvalidInput(f"{file}: constraint '{name}': {key} must be a number, got {value!r}")
    return LinearConstraint.of(spec, name, of["terms"], **given)

"""Controllers by name or from a user's file, and the choice of their command level."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from control_stack.errors import USER_ERRORS, ControlStackError, InvalidInput, UnknownName
from control_stack.protocols import Controller, choose_level
from control_stack.quadrotor.parameters import QuadrotorParameters
from control_stack.types import CommandLevel

BUILT_IN = {
    "foundation": "controllers.foundation:FoundationController",
    "geometric": "controllers.geometric:GeometricController",
    "gp_cem": "controllers.gp_cem.quadrotor:GpCemController",
    "lqr": "controllers.lqr:LqrController",
    "nmpc": "controllers.nmpc.quadrotor:NmpcController",
}
_INTERFACE = ("levels", "spec", "reset")


def controller_names() -> list[str]:
    """Names of the controllers that ship with the package."""
    return sorted(BUILT_IN)


def load_controller(text: str) -> Any:
    """The class called ``text``: a built-in name, ``foundation:FILE.safetensors`` (the foundation policy with
    weights from a file), ``nmpc:estimator=NAME,model=DIR`` (either may be left out), ``gp_cem:filter=SCENE.yaml``, or
    ``path/to/file.py:ClassName``.

    Raises:
        UnknownName: Not a built-in name and not a file.
        InvalidInput: The file or the class is missing, the class lacks the interface, or the file fails on
        import;
            the message then holds file, line and error.
    """
    if text in BUILT_IN:
        module, _, name = BUILT_IN[text].partition(":")
        return getattr(importlib.import_module(module), name)
    if text.startswith("foundation:"):
        return load_controller("foundation").flying(text.partition(":")[2])
    if text.startswith(("nmpc:", "gp_cem:")):
        name, _, options = text.partition(":")
        return load_controller(name).flying(options)
    file, colon, name = text.rpartition(":")
    if not colon and text.endswith(".py"):
        file = text
    if not file.endswith(".py"):
        raise UnknownName("controller", text, [*controller_names(), "path/to/file.py:ClassName"])
    path = Path(file)
    if not path.is_file():
        raise InvalidInput(f"controller file {path} does not exist")
    module_found = _import_file(path)
    classes = {
        key: value
        for key, value in vars(module_found).items()
        if inspect.isclass(value) and value.__module__ == module_found.__name__
    }
    found = classes.get(name) if colon else None
    if found is None:
        wanted = f"there is no class '{name}'" if colon else f"name the class, as in {path}:ClassName"
        raise InvalidInput(f"{path}: {wanted}; it defines: {', '.join(classes) or 'no class'}")
    _check_interface(found, path)
    return found


def build_controller(
    text: str,
    parameters: QuadrotorParameters,
    accepted_levels: Sequence[CommandLevel],
    rate_hz: float = 100.0,
) -> Controller:
    """The controller called ``text`` at the first of its levels that is accepted; ``level`` tells which.

    Raises:
        IncompatibleLevels: There is no such level. Otherwise as ``load_controller``; what a user's
        constructor
            raises becomes InvalidInput with file and line.
    """
    found = load_controller(text)
    note = getattr(found, "level_note", "")
    level = choose_level(text, found.levels, parameters.name, accepted_levels, note)
    try:
        controller = found(parameters, level, rate_hz)
    except ControlStackError:
        raise
    except USER_ERRORS as error:
        if text in BUILT_IN:
            raise
        raise InvalidInput(_one_line(error, Path(text.rpartition(":")[0]))) from error
    for name in ("level", "last_result"):
        if not hasattr(controller, name):
            raise InvalidInput(f"controller '{text}' has no '{name}': derive it from controllers.base.BaseController")
    return controller


def check_proved(path: str | None, built: Mapping[str, Controller]) -> None:
    """Refuses controllers whose policy or model is not proved to do what a file asks; None asks for nothing.

    Args:
        path: Box file, or report of ``control-stack verify`` (``control_stack.verification.require_proof``).
        built: By name. All that have something to verify are held to the file; at least one must.

    Raises:
        InvalidInput: A proof fails, a report is of other weights, or no controller has anything to verify.
    """
    if path is None:
        return
    subjects = {name: subject for name, c in built.items() if (subject := getattr(c, "verifiable", None)) is not None}
    if not subjects:
        raise InvalidInput(f"verify {path}: no policy or model to be verified in {', '.join(built)}")
    from control_stack.verification import require_proof

    for name, subject in subjects.items():
        require_proof(path, subject, name)


def _import_file(path: Path) -> ModuleType:
    name = f"control_stack_user_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise InvalidInput(f"{path} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up there
    folder = str(path.resolve().parent)
    sys.path.insert(0, folder)  # files beside it can be imported, as when it is run
    try:
        spec.loader.exec_module(module)
    except ControlStackError:
        raise
    except USER_ERRORS as error:
        del sys.modules[name]
        raise InvalidInput(_one_line(error, path)) from error
    finally:
        sys.path.remove(folder)
    return module


def _one_line(error: BaseException, path: Path) -> str:
    """File, line and error; the line is the last one of the user's file that the error came through."""
    line = error.lineno if isinstance(error, SyntaxError) else None
    file = str(path.resolve())
    for frame in traceback.extract_tb(error.__traceback__):
        if str(Path(frame.filename).resolve()) == file:
            line = frame.lineno
    text = error.msg if isinstance(error, SyntaxError) else str(error).partition("\n")[0]
    place = f"{path}, line {line}" if line is not None else f"{path}"
    return f"{place}: {type(error).__name__}: {text}"


def _check_interface(found: Any, path: Path) -> None:
    missing = [name for name in _INTERFACE if not hasattr(found, name)]
    # hasattr would find the call of the class itself.
    if not any("__call__" in vars(parent) for parent in found.__mro__):
        missing.append("__call__")
    if missing:
        raise InvalidInput(
            f"{path}: {found.__name__} has no {', '.join(missing)}: derive it from controllers.base.BaseController"
        )
    levels = found.levels
    if not isinstance(levels, (tuple, list)) or not levels or not all(isinstance(v, CommandLevel) for v in levels):
        raise InvalidInput(
            f"{path}: {found.__name__}.levels must be a tuple of CommandLevel, best first, got {levels!r}"
        )

"""The error tree: each error is ours and the builtin that fits, and says one clear line."""

from __future__ import annotations

from pathlib import Path

import pytest

from control_stack import errors as er

CASES = [
    (
        er.UnknownName("vehicle", "bus", ["crazyflie", "x500"]),
        KeyError,
        "unknown vehicle 'bus'; expected one of: crazyflie, x500",
    ),
    (er.InvalidInput("line 3: not a number"), ValueError, "line 3: not a number"),
    (er.InputRejected("stale", "0.3 s old"), ValueError, "stale: 0.3 s old"),
    (er.InputRejected("stale"), ValueError, "stale"),
    (
        er.MissingDependency("casadi", "mpc"),
        ImportError,
        "'casadi' is not installed: pip install -e '.[mpc]' (in the clone)",
    ),
    (
        er.IncompatibleLevels("lqr", ["rotors"], "x500", ["ctbr", "attitude"]),
        TypeError,
        "controller 'lqr' emits rotors but vehicle 'x500' accepts ctbr, attitude: no common command level",
    ),
    (er.NotConnected("connect() first"), RuntimeError, "connect() first"),
    (er.FlightAborted("take-off: no lift"), RuntimeError, "take-off: no lift"),
    (er.TrainingAborted("a worker ended early"), RuntimeError, "a worker ended early"),
    (er.VehicleRefused("arming refused: tilted"), RuntimeError, "arming refused: tilted"),
    (er.NotReady("not armed: battery 3.1 V"), RuntimeError, "not armed: battery 3.1 V"),
    (er.LinkError("no heartbeat on 14540"), ConnectionError, "no heartbeat on 14540"),
]


@pytest.mark.parametrize(("error", "builtin", "text"), CASES, ids=lambda value: type(value).__name__)
def test_caught_as_ours_and_as_the_builtin(error: Exception, builtin: type[Exception], text: str):
    for kind in (er.ControlStackError, builtin):
        with pytest.raises(kind):
            raise error
    assert str(error) == text


def test_every_error_of_the_tree_is_covered():
    defined = {
        value
        for value in vars(er).values()
        if isinstance(value, type) and issubclass(value, er.ControlStackError) and value is not er.ControlStackError
    }
    assert defined == {type(error) for error, _, _ in CASES}


def test_outside_a_clone_the_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(er, "__file__", str(tmp_path / "control_stack" / "errors.py"))
    assert er.install_command("mpc") == "pip install 'control-stack[mpc]'"


def test_fields_are_kept_for_programs():
    error = er.UnknownName("vehicle", "bus", iter(["crazyflie"]))
    assert (error.kind, error.name, error.known) == ("vehicle", "bus", ("crazyflie",))
    assert er.InputRejected("stale", "old").reason == "stale"
    missing = er.MissingDependency("casadi", "mpc", "or fly without it")
    assert (missing.module, missing.extra) == ("casadi", "mpc") and str(missing).endswith("; or fly without it")

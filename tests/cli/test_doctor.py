"""``control-stack doctor``: what is here, what is missing, and the command that brings it."""

from __future__ import annotations

import platform
from collections.abc import Callable

import pytest

from control_stack.cli import doctor


@pytest.fixture
def no_ros(monkeypatch: pytest.MonkeyPatch) -> None:
    """Discovery takes two processes; tests/ros has them."""
    monkeypatch.setattr(doctor, "_discovery", lambda: "works, as far as this test is concerned")


def row(text: str, start: str) -> str:
    return next(line for line in text.splitlines() if line.startswith(start))


@pytest.mark.usefixtures("no_ros")
def test_every_extra_is_listed_with_python_and_machine(run: Callable) -> None:
    done = run("doctor")
    assert done.code == 0 and done.err == ""
    for extra in ("ros", "sim", "mpc", "mip", "hardware", "learn"):
        assert row(done.out, f"{extra} ")
    assert platform.python_version() in done.out and "numpy" in done.out
    assert "works, as far as this test is concerned" in done.out


@pytest.mark.usefixtures("no_ros")
def test_what_is_missing_is_named_with_its_remedy(run: Callable, without: Callable) -> None:
    without("pyomo", "casadi")
    out = run("doctor").out
    assert "missing pyomo" in row(out, "mip ") and "pip install -e '.[mip]'" in row(out, "mip ")
    assert "missing casadi" in row(out, "sim ") and "pip install -e '.[sim]'" in row(out, "sim ")


def test_without_rclpy_discovery_is_not_tried(without: Callable) -> None:
    without("rclpy")
    assert doctor._discovery() == "not tried: rclpy is missing"

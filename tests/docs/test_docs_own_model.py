"""docs/bring_your_own_model.md: its command and its twenty lines, run on the log of a cart, which reaches its goal."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from control_stack.artefacts.log import FlightLog
from control_stack.cli.main import main
from control_stack.learning.data import load
from control_stack.types import Array

DT = 0.1


def cart_step(x: Array, u: Array) -> Array:
    """Position and velocity (..., 2) under a force (..., 1), with drag that grows beyond 0.5 m/s."""
    speed = np.abs(x[..., 1])
    drag = 0.4 * x[..., 1] + 2.0 * np.sign(x[..., 1]) * np.maximum(speed - 0.5, 0.0)
    velocity = x[..., 1] + DT * (2.0 * u[..., 0] - drag)
    return np.stack([x[..., 0] + DT * velocity, velocity], axis=-1)


def episodes(count: int = 60, steps: int = 30) -> list[tuple[Array, Array]]:
    rng = np.random.default_rng(0)
    found = []
    for _ in range(count):
        u = np.clip(np.repeat(rng.uniform(-1.3, 1.3, (steps // 3, 1)), 3, axis=0), -1.0, 1.0)
        x = [np.array([rng.uniform(-0.6, 0.6), rng.uniform(-0.5, 0.5)])]
        for force in u:
            x.append(cart_step(x[-1], force))
        found.append((np.array(x), u))
    return found


def csv(path: Path, log: list[tuple[Array, Array]]) -> None:
    lines = ["episode, t [s], position [m], velocity [m/s], u:force [N]"]
    for number, (x, u) in enumerate(log):
        for k, state in enumerate(x):
            force = repr(float(u[k, 0])) if k < len(u) else ""
            lines.append(f"{number}, {DT * k:.1f}, {float(state[0])!r}, {float(state[1])!r}, {force}")
    path.write_text("\n".join(lines) + "\n")


def mcap(folder: Path, log: list[tuple[Array, Array]]) -> None:
    for number, (x, u) in enumerate(log):
        with FlightLog(folder / f"{number:03d}.mcap") as out:
            for k, state in enumerate(x):
                out.joints("joint_states", DT * k, ["position [m]", "velocity [m/s]"], position=state, frame="map")
                if k < len(u):
                    out.joints("actuators/command", DT * k, ["force [N]"], effort=u[k], frame="inputs")


class Robot:
    """The cart itself."""

    def __init__(self) -> None:
        self.states = [np.zeros(2)]

    def state(self) -> Array:
        return self.states[-1]

    def send(self, u: Array) -> None:
        assert u.shape == (1,) and abs(u[0]) <= 1.0 and len(self.states) < 100
        self.states.append(cart_step(self.states[-1], u))


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the log, after the page's command."""
    pytest.importorskip("torch")
    from control_stack.learning.sparsify import recipe

    folder = tmp_path_factory.mktemp("cart")
    csv(folder / "log.csv", episodes())
    text = (Path(__file__).resolve().parents[2] / "docs" / "bring_your_own_model.md").read_text(encoding="utf-8")
    (command,) = re.findall(r"^(control-stack fit .*)$", text, re.M)
    quick = partial(recipe.Recipe, first_updates=600, thin_updates=80, tune_updates=120, horizons=(2, 4))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recipe, "Recipe", quick)  # of a log this small there is nothing more to learn
        patch.chdir(folder)
        assert main(shlex.split(command)[1:]) == 0
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("controller", ["mip", "icem"])
def test_from_a_log_to_a_cart_at_its_goal(
    page: Callable[[str], Any], fitted: Path, monkeypatch: pytest.MonkeyPatch, controller: str
) -> None:
    if controller == "mip":
        pytest.importorskip("highspy")
    monkeypatch.chdir(fitted)
    text = page("bring_your_own_model")
    (code,) = text.blocks("python")
    assert len([line for line in code.splitlines() if line.strip()]) <= 20 and '"mip"' in code
    robot = Robot()
    exec(compile(code.replace('"mip"', f'"{controller}"'), str(text.path), "exec"), {"robot": robot})
    assert abs(robot.states[-1][0] - 0.4) <= 0.03
    assert max(abs(state[1]) for state in robot.states) < 0.65  # the limit of 0.6, but for the model's error


def test_logs_of_either_kind_are_the_same_data(tmp_path: Path) -> None:
    log = episodes(count=3, steps=9)
    csv(tmp_path / "log.csv", log)
    mcap(tmp_path / "logs", log)
    one, two = load(tmp_path / "log.csv"), load(tmp_path / "logs")
    assert one.spec.state == two.spec.state and one.spec.inputs == two.spec.inputs and one.spec.dt == two.spec.dt
    np.testing.assert_array_equal(one.states, two.states)
    np.testing.assert_array_equal(one.inputs, two.inputs)

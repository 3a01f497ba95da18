"""The filter's unknown acceleration from flights and from certified models, and scenes that name such a file."""

from __future__ import annotations

import json

import numpy as np
import pytest
from lipschitz_models import random_model
from residual_toys import DT, VEHICLE, draggy, flight, write_log

from control_stack.bounds import Box
from control_stack.cli.main import main
from control_stack.errors import InvalidInput, UnknownName
from control_stack.learning.flight_data import FlightLog, Stretch
from control_stack.quadrotor.long_step import FORCE, LongStepQuadrotor
from control_stack.quadrotor.parameters import load_vehicle
from control_stack.safety.barrier import learned_margin
from control_stack.safety.barrier.filter import SafetyFilter
from control_stack.safety.barrier.scene import load_scene
from control_stack.types import CommandLevel

CTBR = CommandLevel.CTBR
X500 = load_vehicle(VEHICLE)


def pushed(acceleration: float, seed: int) -> FlightLog:
    """A flight under a push of this size from a side of its own, which the model is not told."""
    random = np.random.default_rng(seed)
    model = LongStepQuadrotor(X500, CTBR, DT)
    side = random.standard_normal(3)
    p = model.spec.defaults.copy()
    p[FORCE] = acceleration * float(X500.mass) * side / np.linalg.norm(side)
    inputs = np.array([0.0, 0.0, 0.0, float(X500.mass) * 9.81]) + random.standard_normal((60, 4)) * [0.3, 0.3, 0.3, 1.0]
    x0 = np.zeros(13)
    x0[9] = 1.0
    states = model.rollout(x0, inputs, p)
    return FlightLog(DT, [Stretch(states, inputs, np.zeros(3))], {})


def test_pushes_of_known_size_come_out_by_their_rank():
    logs = [pushed(0.1 * (k + 1), k) for k in range(19)]
    found = learned_margin.of_flights(logs, X500, CTBR, 0.1)
    assert found.acceleration == pytest.approx(1.8, rel=1e-3)  # the 18th of 19
    assert (found.vehicle, found.flights, found.proved) == (X500.name, 19, 0.0)
    with pytest.raises(InvalidInput, match="delta 0.01 needs 99 trajectories or more, got 19"):
        learned_margin.of_flights(logs, X500, CTBR, 0.01)


def test_what_a_certified_model_may_add_in_a_box_is_bounded_and_its_error_comes_on_top():
    model = random_model(1, states=4, inputs=2, parameters=0, activation="tanh")
    random = np.random.default_rng(0)
    box = Box(-0.5 * np.ones(6), 0.5 * np.ones(6))
    x, u = random.uniform(-0.5, 0.5, (19, 9, 4)), random.uniform(-0.5, 0.5, (19, 8, 2))
    x[:, 1:] = 0.5 * np.tanh(model.step(x[:, :-1], u))  # any flights within the box
    velocity = model.spec.state[2:]
    found = learned_margin.of_model(model, velocity, box, x, u, 0.1, "x500")
    sampled = model.network(random.uniform(-0.5, 0.5, (20_000, 6)))[:, 2:]
    largest = np.linalg.norm(sampled, axis=1).max()
    assert largest <= found.proved <= 3.0 * largest
    errors = np.linalg.norm((x[:, 1:] - model.step(x[:, :-1], u))[..., 2:], axis=-1).max(1) / model.spec.dt
    assert found.acceleration == pytest.approx(found.proved + np.sort(errors)[17])
    with pytest.raises(InvalidInput, match="a flight leaves the box"):
        learned_margin.of_model(model, velocity, box, 2.0 * x, u, 0.1, "x500")
    with pytest.raises(InvalidInput, match="no state 'speed'"):
        learned_margin.of_model(model, ["speed"], box, x, u, 0.1, "x500")
    with pytest.raises(InvalidInput, match="a model with a certificate is needed"):
        learned_margin.of_model("model", velocity, box, x, u, 0.1, "x500")  # type: ignore[arg-type]


def test_the_command_writes_what_a_scene_reads(tmp_path, capsys):
    pytest.importorskip("mcap")
    logs = [str(write_log(tmp_path / f"run{k}", *flight(draggy()[1], seconds=5.0))) for k in range(3)]
    (tmp_path / "scenes").mkdir()
    out = tmp_path / "scenes" / "margin.json"
    command = ["fit", "margin", *logs, "--vehicle", VEHICLE, "--level", "ctbr", "--out", str(out)]
    assert main([*command, "--delta", "0.5"]) == 0
    assert "unknown acceleration" in capsys.readouterr().out
    found = learned_margin.read(out)
    scene = tmp_path / "scenes" / "yard.yaml"
    scene.write_text("name: yard\nlimits: {acceleration: 2.0}\nmargin: {model: margin.json, wind: 0.5}\n")
    loaded = load_scene(scene)
    assert loaded.margin.model == found.acceleration > 0.3  # drag that its file does not have
    assert loaded.margin.wind == 0.5 and loaded.margin.vehicle == X500.name
    drag = float(np.max(X500.drag)) / float(X500.mass)
    assert SafetyFilter(loaded, X500).unknown == pytest.approx(found.acceleration + 0.5 * drag)
    with pytest.raises(InvalidInput, match="was measured with 'x500', not with 'crazyflie'"):
        SafetyFilter(loaded, load_vehicle("crazyflie"))
    assert main(command) == 2  # three flights cannot speak of one in ten
    assert "delta 0.1 needs 9 trajectories" in capsys.readouterr().err


def test_files_that_are_no_margins_are_refused(tmp_path):
    scene, file = tmp_path / "yard.yaml", tmp_path / "m.json"
    scene.write_text("name: yard\nmargin: {model: m.json}\n")
    good = learned_margin.LearnedMargin(0.5, "x500", 0.1, 20, 0.0, "test")
    learned_margin.write(good, file)
    assert load_scene(scene).margin.model == 0.5
    stored = json.loads(file.read_text())
    for changed, reason in (
        (None, "No such file"), ("{", "no margin"), ({**stored, "format": "x"}, "not of the format"),
        ({**stored, "acceleration": -1.0}, "not below 0"), ({"format": stored["format"]}, "no margin"),
    ):  # fmt: skip
        file.unlink(missing_ok=True)
        if changed is not None:
            file.write_text(changed if isinstance(changed, str) else json.dumps(changed))
        with pytest.raises(InvalidInput, match=reason):
            load_scene(scene)
    scene.write_text("name: yard\nmargin: {vehicle: x500}\n")
    with pytest.raises(UnknownName):
        load_scene(scene)

"""The residual of a quadrotor: what was added is learnt; what cannot be learnt from, or does not fit, is refused."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from residual_toys import DT, EXCITE, VEHICLE, drag_network, draggy, flight, write_log

from control_stack.algebra import rotate, rotate_inverse
from control_stack.cli.main import main
from control_stack.errors import InvalidInput
from control_stack.learning.flight_data import FlightLog, Stretch
from control_stack.learning.residual_file import fitted_level, load_residual, save_residual
from control_stack.quadrotor.parameters import load_vehicle
from control_stack.quadrotor.residual import SEEN
from control_stack.types import CommandLevel

pytest.importorskip("torch")
X500, CTBR = load_vehicle(VEHICLE), CommandLevel.CTBR
TRAINING = {"command": "", "seed": 0, "git_revision": "", "wall_time_s": 1.0, "hardware": {}}
EXTRA = np.array([0.488, 0.488, 0.1]) / 2.0  # m/s^2 for each m/s of airspeed: what the true drag has beyond the file's


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Log and fit of a vehicle with three times the drag of its file, by the command line."""
    base = tmp_path_factory.mktemp("residual")
    log = write_log(base / "run", *flight(draggy()[1]))
    command = ["fit", "residual", str(log), "--vehicle", VEHICLE, "--level", "ctbr", "--out", str(base / "fit")]
    assert main(command) == 0
    return log, base / "fit"


def test_an_added_drag_is_learnt_and_where_nothing_was_seen_wind_moves_the_airspeed(folders):
    model = load_residual(folders[1], X500, CTBR, 0.04)
    random = np.random.default_rng(0)
    air = random.uniform(-3.5, 3.5, (200, 3)) * [1.0, 1.0, 0.3]
    quat = random.standard_normal((200, 4)) * 0.2 + [0.0, 0.0, 0.0, 1.0]
    quat /= np.linalg.norm(quat, axis=1, keepdims=True)
    level = np.tile([0.0, 0.0, 0.0, 1.0], (200, 1))
    thrust = np.full(200, 10.0)
    for wind in ([0.0, 0.0, 0.0], [4.0, -3.0, 1.0]):  # there was none in the log
        p = model.spec.defaults.copy()
        p[0:3] = wind
        found = model.acceleration_w(air + wind, level, np.zeros((200, 3)), thrust, p)
        left = np.sqrt(np.square(found + EXTRA * air).mean(axis=0))
        assert (left[:2] < 0.35 * np.sqrt(np.square(EXTRA * air).mean(axis=0)[:2])).all()
    # Tilt tells it nothing: the same airspeed in the body is the same force on it.
    turned = np.stack(rotate(tuple(quat.T), tuple(air.T)), axis=-1)
    p[0:3] = 0.0
    found = model.acceleration_w(turned, quat, np.zeros((200, 3)), thrust, p)
    body = np.stack(rotate_inverse(tuple(quat.T), tuple(found.T)), axis=-1)
    straight = model.acceleration_w(air, level, np.zeros((200, 3)), thrust, p)
    np.testing.assert_allclose(body, straight, rtol=1e-9, atol=1e-9)


def test_the_card_tells_vehicle_level_logs_winds_and_held_out_errors(folders):
    card = json.loads((folders[1] / "model.json").read_text())
    assert (card["vehicle"], card["level"], card["features"]) == (VEHICLE, "ctbr", list(SEEN))
    (log,) = card["logs"]
    assert log["wind"] == "none" and log["seconds"] == pytest.approx(39.99) and len(log["sha256"]) == 64
    assert card["training"]["seed"] == 0 and card["training"]["command"].startswith("control-stack fit residual LOG")
    errors, ahead = card["figures"]["acceleration_rmse_m_s2"], card["figures"]["rollout"]
    assert (np.array(errors["learned"]) < 0.2 * np.array(errors["nominal"]))[:2].all()
    nominal, learned = (np.linalg.norm(ahead[name]["position_m"]) for name in ("nominal", "learned"))
    assert learned < 0.4 * nominal and ahead["count"] > 10
    assert [note.partition(" ")[0] for note in card["figures"]["notes"]] == ["omega_b.z"]


@pytest.mark.slow
def test_the_same_command_gives_the_same_weights(folders, tmp_path):
    log, fit = folders
    out = tmp_path / "again"
    assert main(["fit", "residual", str(log), "--vehicle", VEHICLE, "--level", "ctbr", "--out", str(out)]) == 0
    assert (out / "model.safetensors").read_bytes() == (fit / "model.safetensors").read_bytes()


def log_of(states, inputs) -> FlightLog:
    return FlightLog(DT, [Stretch(states, inputs, np.zeros(3))], {})


def test_too_short_a_flight_and_one_without_speed_are_refused():
    from control_stack.learning.residual_fit import fit_residual

    states, inputs = flight(draggy()[0], seconds=4.0)
    with pytest.raises(InvalidInput, match="4.0 s of flight at level 'ctbr' are too short"):
        fit_residual([log_of(states, inputs)], X500, CTBR)
    still = np.tile(states[:1], (1500, 1))
    with pytest.raises(InvalidInput, match="no excitation: airspeed"):
        fit_residual([log_of(still, np.tile(inputs[:1], (1499, 1)))], X500, CTBR)


def test_what_was_not_excited_is_noted_and_gets_no_weight(monkeypatch):
    from control_stack.learning import residual_fit

    monkeypatch.setattr(residual_fit, "EPOCHS", 3)

    def level(t):
        names = ("velocity_w", "acceleration_w", "jerk_w")
        return replace(EXCITE(t), **{name: getattr(EXCITE(t), name) * [1.0, 1.0, 0.0] for name in names})

    found = residual_fit.fit_residual([log_of(*flight(draggy()[0], level, 15.0))], X500, CTBR)
    assert [note.partition(" ")[0] for note in found.notes] == ["omega_b.z"]
    assert not found.network.weights[0][:, SEEN.index("omega_b.z [rad/s]")].any()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--vehicle", "crazyflie", "--level", "ctbr"], "a flight of 'x500', not of 'crazyflie'"),
        (["--vehicle", "x500", "--level", "rotors"], "tells no rotor speeds"),
        (["--vehicle", "x500", "--level", "ctbr", "--wind", "1,2"], "expected x,y,z in m/s, got '1,2'"),
        (["--vehicle", "x500", "--level", "ctbr", "--wind", "0,0,0", "0,0,0"], "one for all logs or one for each"),
        (["--vehicle", "x500", "--level", "ctbr", "--seed", "-1"], "--seed must be"),
    ],
)
def test_bad_input_is_one_line(folders, tmp_path, capsys, options, said):
    out = tmp_path / "fit"
    assert main(["fit", "residual", str(folders[0]), "--out", str(out), *options]) == 2
    error = capsys.readouterr().err.strip()
    assert said in error and error.startswith("error: ") and "\n" not in error and not out.exists()


def test_a_model_flies_only_what_its_card_says(tmp_path):
    file = tmp_path / "model.safetensors"
    network = drag_network()
    save_residual(file, network, X500, CTBR, logs=[], training=TRAINING, figures={})
    model = load_residual(tmp_path, X500, CTBR, 0.02)
    np.testing.assert_array_equal(model.network.flatten(), network.flatten())
    assert model.spec.dt == 0.02 and fitted_level(file) is CTBR
    with pytest.raises(InvalidInput, match="vehicle is 'x500', this flight needs 'crazyflie'"):
        load_residual(file, load_vehicle("crazyflie"), CTBR, 0.04)
    with pytest.raises(InvalidInput, match="level is 'ctbr', this flight needs 'rotors'"):
        load_residual(file, X500, CommandLevel.ROTORS, 0.04)
    with pytest.raises(InvalidInput, match="has changed since"):
        load_residual(file, replace(X500, mass=2.1), CTBR, 0.04)
    card = json.loads(file.with_suffix(".json").read_text())
    for key, value, said in (("features", card["features"][:-1], "features is"), ("sha256", "0" * 64, "sha256")):
        file.with_suffix(".json").write_text(json.dumps({**card, key: value}))
        with pytest.raises(InvalidInput, match=said):
            load_residual(file, X500, CTBR, 0.04)
    file.write_bytes(file.read_bytes()[:-8])
    with pytest.raises(InvalidInput, match="no whole safetensors"):
        load_residual(file, X500, CTBR, 0.04)
    with pytest.raises(InvalidInput, match="does not exist"):
        load_residual(tmp_path / "nowhere", X500, CTBR, 0.04)

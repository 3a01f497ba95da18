"""The artefact round-trips; whatever is not this network, observation or rate is refused with the reason."""

from __future__ import annotations

import json

import numpy as np
import pytest
from random_policy import TRAINING, random_tensors, random_weights
from safetensors.numpy import save_file

from control_stack.errors import InvalidInput
from control_stack.foundation import weights
from control_stack.foundation.observation import FEATURES, OBSERVATION, OBSERVATION_SIZE, Lead


def refused(path, *words: str) -> None:
    with pytest.raises(InvalidInput) as error:
        weights.load(path)
    message = str(error.value)
    assert "\n" not in message
    for word in (path.stem, *words):
        assert word in message, message


def edit_card(path, change) -> None:
    card = json.loads(path.with_suffix(".json").read_text())
    change(card)
    path.with_suffix(".json").write_text(json.dumps(card))


def test_round_trip_and_the_count_of_raptor(tmp_path):
    loaded = weights.load(random_weights(tmp_path, lead=Lead(-0.01, 0.0, 0.0, 0.07)))
    assert (loaded.count, loaded.hidden_size, loaded.lead) == (2084, 16, Lead(-0.01, 0.0, 0.0, 0.07))
    for name, tensor in random_tensors().items():
        np.testing.assert_array_equal(loaded[name], tensor)
    assert loaded.card["training"] == TRAINING and loaded.card["architecture"]["parameters"] == 2084


@pytest.mark.parametrize("hidden", [8, 24, 64])
def test_other_widths_load(tmp_path, hidden):
    assert weights.load(random_weights(tmp_path, hidden=hidden)).hidden_size == hidden


def test_the_layout_names_all_22_observations():
    assert sum(size for _, size, _, _ in OBSERVATION) == OBSERVATION_SIZE == FEATURES + 4


@pytest.mark.parametrize("keep", [0, 4, 100, 1000, -1])
def test_truncated_files_are_refused(tmp_path, keep):
    path = random_weights(tmp_path)
    path.write_bytes(path.read_bytes()[:keep])
    refused(path, "no whole safetensors file")


def test_altered_bytes_are_refused(tmp_path):
    path = random_weights(tmp_path)
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(bytes(data))
    refused(path, "sha256")


def test_another_architecture_is_refused(tmp_path):
    path = random_weights(tmp_path)

    def put(**changes):
        tensors = {**random_tensors(), **changes}
        save_file({name: t for name, t in tensors.items() if t is not None}, path)

    put(**{"gru.weight_ih": np.zeros((64, 16), np.float32)})
    refused(path, "another architecture", "gru.weight_ih", "(48, 16)")
    put(**{"output.bias": None})
    refused(path, "lacks tensor 'output.bias'")
    put(**{"hidden.weight": np.zeros((4, 4), np.float32)})
    refused(path, "unknown tensor 'hidden.weight'")
    put(**{"input.weight": np.zeros((16, 26), np.float32)})
    refused(path, "input.weight", "(16, 26)")
    put(**{"output.bias": np.zeros(4, np.float64)})
    refused(path, "float64")
    put(**{"output.bias": np.full(4, np.nan, np.float32)})
    refused(path, "not finite")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: c["observation"][0].update(name="position"), ("observation", "position_error")),
        (lambda c: c["observation"][3].update(unit="deg/s"), ("observation", "deg/s", "rad/s")),
        (lambda c: c["observation"].pop(), ("observation",)),
        (lambda c: c.update(rate_hz=500.0), ("rate_hz", "500", "100")),
        (lambda c: c.update(motor_order=["FR", "BL", "FL", "BR"]), ("motor_order", "BL")),
        (lambda c: c.update(action="torques"), ("action", "torques")),
        (lambda c: c["architecture"].update(gates="z, r, n"), ("architecture", "gates")),
        (lambda c: c["architecture"].update(hidden=32), ("architecture", "hidden", "32")),
        (lambda c: c.pop("yaw_torque_signs"), ("yaw torque signs",)),
        (lambda c: c.pop("lead"), ("lead",)),
        (lambda c: c.update(lead={"position": 0.0, "velocity": 0.1}), ("lead", "position_velocity")),
        (lambda c: c["lead"].update(velocity_acceleration=2.0), ("lead", "within +-1")),
        (lambda c: c.update(format="other"), ("format",)),
    ],
)
def test_a_card_that_names_something_else_is_refused(tmp_path, change, words):
    path = random_weights(tmp_path)
    edit_card(path, change)
    refused(path, *words)


def test_missing_files_and_wrong_names(tmp_path):
    refused(tmp_path / "nothing.safetensors", "does not exist")
    path = random_weights(tmp_path)
    path.with_suffix(".json").write_text("{")
    refused(path, "not valid JSON")
    path.with_suffix(".json").write_text("[]")
    refused(path, "JSON object")
    path.with_suffix(".json").unlink()
    refused(path, ".json does not exist")
    refused(tmp_path / "weights.pt", ".safetensors")


def test_a_card_without_its_training_is_not_written(tmp_path):
    with pytest.raises(InvalidInput, match="wall_time_s"):
        weights.save(tmp_path / "a.safetensors", random_tensors(), training={"command": "x"}, figures={})
    assert not list(tmp_path.iterdir())

"""Every export computes the same actions: the authors' loader, ONNX, gcc, PX4's archive, our own files."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tarfile
from pathlib import Path

import numpy as np
import pytest
from random_policy import random_policy, random_weights

from control_stack.errors import InvalidInput, UnknownName
from control_stack.foundation.export import FORMATS, export
from control_stack.foundation.export.c_header import c_header
from control_stack.foundation.export.example import example
from control_stack.foundation.runtime import GRUPolicy

MAIN = """
#define FOUNDATION_POLICY_TEST
#include <stdio.h>
#include "policy.h"
int main(void) {
  foundation_policy_state state;
  float observation[FOUNDATION_POLICY_OBSERVATION], action[FOUNDATION_POLICY_ACTION];
  printf("%.9e\\n", foundation_policy_self_test());
  foundation_policy_reset(&state);
  while (fread(observation, sizeof observation, 1, stdin) == 1) {
    foundation_policy_step(&state, observation, action);
    printf("%.9e %.9e %.9e %.9e\\n", action[0], action[1], action[2], action[3]);
  }
  return 0;
}
"""

DRIVER = """
#include <stdio.h>
int main(void) {
  float seen[22], rotor[4];
  for (int i = 0; i < 22; i++) seen[i] = 0.1f;
  printf("%d\\n", ready());
  for (int t = 0; t < 50; t++) {
    every_10_ms(seen, rotor);
    printf("%.9e %.9e %.9e %.9e\\n", rotor[0], rotor[1], rotor[2], rotor[3]);
  }
  return 0;
}
"""


@pytest.fixture
def policy(tmp_path):
    return GRUPolicy.load(random_weights(tmp_path, seed=5))


def compile_and_run(folder, header: str, inputs: np.ndarray, *flags: str) -> tuple[float, np.ndarray]:
    """The self-test's error and the actions of the compiled header for (steps, 22) inputs."""
    (folder / "policy.h").write_text(header)
    (folder / "main.c").write_text(MAIN)
    strict = ("-std=c99", "-Wall", "-Wextra", "-Wconversion", "-pedantic", "-Werror", *flags)
    subprocess.run(["gcc", *strict, "main.c", "-o", "main", "-lm"], cwd=folder, check=True)
    out = subprocess.run([folder / "main"], input=inputs.tobytes(), capture_output=True, check=True).stdout.split()
    numbers = np.array(out, float)
    return float(numbers[0]), numbers[1:].reshape(-1, 4)


@pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")
@pytest.mark.parametrize(("hidden", "flag"), [(16, "-O2"), (16, "-O0"), (24, "-O2")])
def test_c_header_compiles_without_a_warning_and_agrees_to_1e_6(tmp_path, hidden, flag):
    policy = random_policy(hidden=hidden)
    inputs, outputs = (array[:, 0] for array in example(policy))
    worst, actions = compile_and_run(tmp_path, c_header(policy), inputs, flag)
    assert worst < 1e-6
    np.testing.assert_allclose(actions, outputs, rtol=0, atol=2e-6)
    assert np.abs(actions - outputs).mean() < 1e-6


@pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")
def test_c_self_test_notices_one_wrong_weight(tmp_path):
    policy, other = random_policy(), random_policy()
    other.weights["gru.weight_hh"][20, 3] += 0.5
    mark = "#ifdef FOUNDATION_POLICY_TEST"
    mixed = c_header(other).partition(mark)[0] + mark + c_header(policy).partition(mark)[2]
    worst, _ = compile_and_run(tmp_path, mixed, np.zeros((1, 22), np.float32))
    assert worst > 1e-4


@pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")
def test_the_c_example_of_the_documentation_flies_the_policy(tmp_path, policy):
    page = (Path(__file__).resolve().parents[2] / "docs" / "foundation_export.md").read_text()
    (snippet,) = re.findall(r"```c\n(.*?)```", page, re.S)
    (tmp_path / "policy.h").write_text(c_header(policy))
    (tmp_path / "firmware.c").write_text(snippet + DRIVER)
    strict = ("-std=c99", "-Wall", "-Wextra", "-pedantic", "-Werror")
    subprocess.run(["gcc", *strict, "firmware.c", "-o", "firmware", "-lm"], cwd=tmp_path, check=True)
    out = subprocess.run([tmp_path / "firmware"], capture_output=True, check=True).stdout.split()
    assert out[0] == b"1"
    hidden, action = policy.initial_hidden(), np.zeros(4, np.float32)
    for rotors in np.array(out[1:], float).reshape(-1, 4):
        action, hidden = policy.step([*[0.1] * 18, *action], hidden)
        np.testing.assert_allclose(rotors, np.clip((action + 1) / 2, 0, 1), rtol=0, atol=2e-6)


def test_hdf5_is_read_back_by_the_authors_own_loader(tmp_path, policy):
    peer = pytest.importorskip("foundation_policy")
    theirs = peer.load(export(policy, "hdf5", tmp_path / "checkpoint.h5"))  # checks the stored example itself
    inputs = np.random.default_rng(9).standard_normal((400, 3, 22)).astype(np.float32)
    theirs.reset()
    hidden = policy.initial_hidden(3)
    for x in inputs:
        ours, hidden = policy.step(x, hidden)
        np.testing.assert_allclose(theirs.evaluate_step(x), ours, rtol=0, atol=3e-6)


def test_hdf5_has_the_authors_layout(tmp_path, policy):
    """Names, shapes, types and attributes of every object equal those of the checkpoint that they publish."""
    h5py, peer = pytest.importorskip("h5py"), pytest.importorskip("foundation_policy")
    from importlib.resources import files

    def layout(path) -> dict[str, tuple]:
        found = {}
        with h5py.File(path) as file:

            def note(name, item):
                kind = (item.shape, item.dtype.str) if isinstance(item, h5py.Dataset) else None
                read = {
                    "checkpoint_name": bool,
                    "meta": json.loads,
                }  # the name is free, JSON's spaces are too
                found[name] = kind, {key: read.get(key, str)(value) for key, value in item.attrs.items()}

            file.visititems(note)
        return found

    ours = layout(export(policy, "hdf5", tmp_path / "checkpoint.h5"))
    assert ours == layout(files(peer) / "blob" / "checkpoint.h5")


def test_onnx_agrees_step_by_step(tmp_path, policy):
    onnx = pytest.importorskip("onnx")
    from onnx.reference import ReferenceEvaluator

    model = onnx.load(export(policy, "onnx", tmp_path / "policy.onnx"))
    onnx.checker.check_model(model, full_check=True)
    run, h = ReferenceEvaluator(model), policy.initial_hidden(2)
    theirs = h
    for x in example(policy, 50, 2)[0]:
        ours, h = policy.step(x, h)
        action, theirs = run.run(None, {"observation": x, "hidden": theirs})
        np.testing.assert_allclose(action, ours, rtol=0, atol=2e-6)
    assert [value.name for value in model.graph.output] == ["action", "next_hidden"]


def test_onnx_runs_in_onnxruntime(tmp_path, policy):
    runtime = pytest.importorskip("onnxruntime")
    session = runtime.InferenceSession(
        str(export(policy, "onnx", tmp_path / "p.onnx")), providers=["CPUExecutionProvider"]
    )
    h = theirs = policy.initial_hidden(1)
    for x in example(policy, 50, 1)[0]:
        ours, h = policy.step(x, h)
        action, theirs = session.run(None, {"observation": x, "hidden": theirs})
        np.testing.assert_allclose(action, ours, rtol=0, atol=2e-6)


def test_px4_archive_holds_the_checkpoint(tmp_path, policy):
    path = export(policy, "px4", tmp_path / "policy.tar")
    data = path.read_bytes()
    assert data[257:262] == b"ustar" and data[-1024:] == bytes(1024)
    with tarfile.open(path) as archive:
        entries = {entry.name: archive.extractfile(entry).read() for entry in archive}
    meta = dict(line.split(": ") for line in entries["actor/meta"].decode().splitlines())
    assert meta["type"] == "sequential" and len(entries["actor/meta"]) <= 256 and len(meta["checkpoint_name"]) < 100
    names = {
        "0/weights": "input.weight",
        "0/biases": "input.bias",
        "1/weights_input": "gru.weight_ih",
        "1/weights_hidden": "gru.weight_hh",
        "1/biases_input": "gru.bias_ih",
        "1/biases_hidden": "gru.bias_hh",
        "1/initial_hidden_state": "gru.initial_hidden",
        "2/weights": "output.weight",
        "2/biases": "output.bias",
    }
    for theirs, ours in names.items():
        place = f"actor/layers/{theirs}/parameters"
        lines = dict(line.split(": ") for line in entries[f"{place}/meta"].decode().splitlines())
        shape = tuple(int(lines[f"dim_{i}"]) for i in range(int(lines["num_dims"])))
        assert lines["type"] == "tensor" and len(entries[f"{place}/meta"]) < 100
        np.testing.assert_array_equal(
            np.frombuffer(entries[f"{place}/data"], "<f4").reshape(shape), policy.weights[ours]
        )
    for part, values in zip(("input", "output"), example(policy), strict=True):
        np.testing.assert_array_equal(np.frombuffer(entries[f"example/{part}/data"], "<f4"), values.ravel())


def test_px4_takes_no_other_width(tmp_path):
    with pytest.raises(InvalidInput, match="width 16"):
        export(random_policy(hidden=24), "px4", tmp_path / "policy.tar")


def test_safetensors_copy_flies_the_same(tmp_path, policy):
    again = GRUPolicy.load(export(policy, "safetensors", tmp_path / "copy.safetensors"))
    for name, tensor in policy.weights.tensors.items():
        np.testing.assert_array_equal(again.weights[name], tensor)
    assert again.weights.card == policy.weights.card


def test_bad_formats_and_paths(tmp_path, policy):
    with pytest.raises(UnknownName, match="hdf5, px4, onnx, c, safetensors"):
        export(policy, "pickle", tmp_path / "x")
    for name in FORMATS:
        with pytest.raises(InvalidInput, match="is a folder"):
            export(policy, name, tmp_path)
        with pytest.raises(InvalidInput, match="does not exist"):
            export(policy, name, tmp_path / "missing" / "file")
    with pytest.raises(InvalidInput, match=r"\.safetensors"):
        export(policy, "safetensors", tmp_path / "weights.pt")

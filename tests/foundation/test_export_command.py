"""control-stack export foundation, as a user types it."""

from __future__ import annotations

import pytest
from random_policy import random_weights

from control_stack.cli.main import main
from control_stack.foundation.export import FORMATS
from control_stack.foundation.runtime import GRUPolicy


@pytest.fixture
def weights(tmp_path):
    return random_weights(tmp_path)


def export(*options: object) -> int:
    try:
        return main(["export", "foundation", *map(str, options)])
    except SystemExit as end:
        return int(end.code or 0)


@pytest.mark.parametrize("name", ["c", "px4", "safetensors"])
def test_writes_the_file_and_says_so(tmp_path, weights, capsys, name):
    out = tmp_path / ("copy.safetensors" if name == "safetensors" else "policy")
    assert export("--format", name, "--out", out, "--weights", weights) == 0
    assert out.stat().st_size > 2084 * 4 and str(out) in capsys.readouterr().out


def test_the_formats_of_the_command_are_those_of_the_package(capsys):
    assert export("--help") == 0
    assert "{" + ",".join(["hdf5", "px4", "onnx", "c", "safetensors"]) + "}" in capsys.readouterr().out
    assert list(FORMATS) == ["hdf5", "px4", "onnx", "c", "safetensors"]


def test_bad_input_is_one_line_and_exit_code_2(tmp_path, weights, capsys):
    truncated = tmp_path / "cut.safetensors"
    truncated.write_bytes(weights.read_bytes()[:500])
    for options in (
        ("--format", "pickle", "--out", tmp_path / "x"),
        ("--format", "c", "--out", tmp_path / "x", "--weights", tmp_path / "no.safetensors"),
        ("--format", "c", "--out", tmp_path / "x", "--weights", truncated),
        ("--format", "c", "--out", tmp_path / "no" / "x", "--weights", weights),
        ("--format", "c"),
    ):
        assert export(*options) == 2
        assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("name", ["hdf5", "onnx"])
def test_a_missing_optional_package_is_named_with_its_extra(tmp_path, weights, capsys, monkeypatch, name):
    import sys

    monkeypatch.setitem(sys.modules, {"hdf5": "h5py", "onnx": "onnx"}[name], None)
    assert export("--format", name, "--out", tmp_path / "x", "--weights", weights) == 2
    assert "learn" in capsys.readouterr().err


def test_what_was_exported_can_be_flown_from(tmp_path, weights):
    export("--format", "safetensors", "--out", tmp_path / "mine.safetensors", "--weights", weights)
    assert GRUPolicy.load(tmp_path / "mine.safetensors").weights.count == 2084

"""The policy in the formats of other programs: ``export(policy, format, path)``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from control_stack.errors import InvalidInput, UnknownName
from control_stack.foundation.export.c_header import c_header
from control_stack.foundation.export.hdf5 import write_hdf5
from control_stack.foundation.export.onnx import write_onnx
from control_stack.foundation.export.px4_tar import write_px4_tar
from control_stack.foundation.runtime import GRUPolicy
from control_stack.foundation.weights import save


def _write_c(policy: GRUPolicy, path: Path) -> None:
    path.write_text(c_header(policy), encoding="utf-8")


def _write_safetensors(policy: GRUPolicy, path: Path) -> None:
    w = policy.weights
    keep = {key: w.card.get(key, {}) for key in ("training", "figures")}
    save(path, w.tensors, lead=w.lead, **keep)


FORMATS: dict[str, tuple[str, Callable[[GRUPolicy, Path], None]]] = {
    "hdf5": ("rl-tools checkpoint, as the authors of RAPTOR publish theirs", write_hdf5),
    "px4": ("policy.tar for PX4's mc_raptor module", write_px4_tar),
    "onnx": ("graph of one step: observation, hidden -> action, next hidden", write_onnx),
    "c": ("C99 header with weights, step function and test vectors", _write_c),
    "safetensors": ("weights and card, as this stack loads them", _write_safetensors),
}


def export(policy: GRUPolicy, format: str, path: str | Path) -> Path:
    """Writes the policy to ``path`` in one of FORMATS and returns the path.

    Raises:
        UnknownName: No such format.
        InvalidInput: The path cannot be written, or the format cannot hold this policy.
        MissingDependency: hdf5 needs h5py, onnx needs onnx.
    """
    if format not in FORMATS:
        raise UnknownName("export format", format, FORMATS)
    file = Path(path)
    if file.is_dir():
        raise InvalidInput(f"{file} is a folder: name the file to write")
    if not file.parent.is_dir():
        raise InvalidInput(f"the folder {file.parent} does not exist")
    try:
        FORMATS[format][1](policy, file)
    except OSError as error:
        raise InvalidInput(f"cannot write {file}: {error.strerror or error}") from None
    return file

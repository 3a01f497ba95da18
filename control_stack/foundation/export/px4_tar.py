"""The archive that PX4's mc_raptor reads from its SD card: rl-tools' checkpoint as ustar entries.

An entry ``meta`` of "key: value" lines describes each group; a tensor is an entry ``meta`` and an entry
``data`` of little-endian float32. The module looks for actor/meta (at most 256 bytes, with the checkpoint's
name), actor/layers/*/*/parameters and example/{input,output}, and starts only if it reproduces the example.
"""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

from control_stack.errors import InvalidInput
from control_stack.foundation.export.example import example
from control_stack.foundation.export.hdf5 import checkpoint_name, layers
from control_stack.foundation.runtime import GRUPolicy
from control_stack.foundation.weights import Tensor

_WIDTH = 16  # compiled into the module


def write_px4_tar(policy: GRUPolicy, path: Path) -> None:
    """Raises InvalidInput for another width than 16: mc_raptor is compiled for it."""
    if policy.hidden_size != _WIDTH:
        raise InvalidInput(f"mc_raptor is compiled for hidden width {_WIDTH}, this policy has {policy.hidden_size}")
    inputs, outputs = example(policy)
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as archive:
        for i, (attributes, parameters) in enumerate(layers(policy)):
            for name, values in parameters.items():
                _tensor(archive, f"actor/layers/{i}/{name}/parameters", values)
            _meta(archive, f"actor/layers/{i}", attributes)
        _meta(archive, "actor", {"checkpoint_name": checkpoint_name(policy), "type": "sequential"})
        _tensor(archive, "example/input", inputs)
        _tensor(archive, "example/output", outputs)


def _tensor(archive: tarfile.TarFile, group: str, values: Tensor) -> None:
    sizes = {f"dim_{i}": str(size) for i, size in enumerate(values.shape)}
    _meta(archive, group, {"type": "tensor", "dtype": "float32", "num_dims": str(values.ndim), **sizes})
    _entry(archive, f"{group}/data", values.astype("<f4").tobytes())


def _meta(archive: tarfile.TarFile, group: str, attributes: dict[str, str]) -> None:
    _entry(archive, f"{group}/meta", "".join(f"{key}: {value}\n" for key, value in attributes.items()).encode())


def _entry(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(data)
    archive.addfile(entry, io.BytesIO(data))

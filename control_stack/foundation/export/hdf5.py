"""rl-tools' HDF5 checkpoint, laid out as the one that RAPTOR's authors publish."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from control_stack.errors import MissingDependency
from control_stack.foundation.export.example import example
from control_stack.foundation.runtime import GRUPolicy
from control_stack.foundation.weights import Tensor

_META = {
    "environment": {
        "name": "l2f",
        "observation": "Position.OrientationRotationMatrix.LinearVelocity.AngularVelocityDelayed(0).ActionHistory(1)",
    }
}


def layers(policy: GRUPolicy) -> list[tuple[dict[str, str], dict[str, Tensor]]]:
    """(attributes, parameters by rl-tools' names) of the three layers, for both checkpoint formats."""
    w = policy.weights
    return [
        (
            {"activation_function": "RELU", "type": "dense"},
            {"weights": w["input.weight"], "biases": w["input.bias"]},
        ),
        (
            {"type": "gru"},
            {
                "weights_input": w["gru.weight_ih"],
                "biases_input": w["gru.bias_ih"],
                "weights_hidden": w["gru.weight_hh"],
                "biases_hidden": w["gru.bias_hh"],
                "initial_hidden_state": w["gru.initial_hidden"],
            },
        ),
        (
            {"activation_function": "IDENTITY", "type": "dense"},
            {"weights": w["output.weight"], "biases": w["output.bias"]},
        ),
    ]


def checkpoint_name(policy: GRUPolicy) -> str:
    """What firmware reports as the checkpoint's name: this stack and the first half of the weights' hash."""
    return f"control-stack/foundation/{str(policy.weights.card.get('sha256', 'unsaved'))[:32]}"


def write_hdf5(policy: GRUPolicy, path: Path) -> None:
    """actor/layers/{0,1,2}/<name>/parameters and example/{input,output}, with rl-tools' attributes.

    Matrices of dense layers are of its type "matrix", biases as one row; the rest are of type "tensor".
    """
    try:
        import h5py
    except ImportError:
        raise MissingDependency("h5py", "learn") from None
    inputs, outputs = example(policy)
    with h5py.File(path, "w") as file:
        actor = file.create_group("actor")
        actor.attrs.update(
            {"checkpoint_name": checkpoint_name(policy), "meta": json.dumps(_META), "type": "sequential"}
        )
        for i, (attributes, parameters) in enumerate(layers(policy)):
            group = actor.create_group(f"layers/{i}")
            group.attrs.update(attributes)
            for name, values in parameters.items():
                store = _matrix if attributes["type"] == "dense" else _tensor
                store(group.create_group(name), "parameters", values)
        stored = file.create_group("example")
        _tensor(stored, "input", inputs)
        _tensor(stored, "output", outputs)


def _matrix(group: Any, name: str, values: Tensor) -> None:
    rows = values.reshape(-1, values.shape[-1])
    data = group.create_dataset(name, data=rows)
    data.attrs.update({"type": "matrix", "rows": str(rows.shape[0]), "cols": str(rows.shape[1])})


def _tensor(group: Any, name: str, values: Tensor) -> None:
    data = group.create_dataset(name, data=values)
    sizes = {f"dim_{i}": str(size) for i, size in enumerate(values.shape)}
    data.attrs.update({"type": "tensor", "num_dims": str(values.ndim), **sizes})

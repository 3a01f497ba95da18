"""The policy as an ONNX graph of one step: the hidden state goes in and comes out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from control_stack.errors import MissingDependency
from control_stack.foundation.observation import ACTION_SIZE, OBSERVATION_SIZE
from control_stack.foundation.runtime import GRUPolicy

_OPSET, _IR = 17, 8  # of 2022: old enough for embedded runtimes


def write_onnx(policy: GRUPolicy, path: Path) -> None:
    """Inputs observation (batch, 22), hidden (batch, H); outputs action (batch, 4), next_hidden (batch, H).

    The metadata holds the first hidden state (``initial_hidden``, a JSON list) and the card.
    """
    model = onnx_model(policy)
    path.write_bytes(model.SerializeToString())


def onnx_model(policy: GRUPolicy) -> Any:
    """The graph as onnx.ModelProto. Raises MissingDependency without onnx."""
    try:
        from onnx import TensorProto, checker, helper, numpy_helper
    except ImportError:
        raise MissingDependency("onnx", "learn") from None
    w, n = policy.weights, policy.hidden_size
    constants = {name: w[name] for name in w.tensors if name != "gru.initial_hidden"}
    splits = np.array([n, n, n], np.int64)

    def node(kind: str, inputs: str, outputs: str, **attributes: Any) -> Any:
        return helper.make_node(kind, inputs.split(), outputs.split(), **attributes)

    def dense(x: str, weight: str, bias: str, out: str) -> Any:
        return node("Gemm", f"{x} {weight} {bias}", out, transB=1)

    nodes = [
        dense("observation", "input.weight", "input.bias", "a_linear"),
        node("Relu", "a_linear", "a"),
        dense("a", "gru.weight_ih", "gru.bias_ih", "from_input"),
        dense("hidden", "gru.weight_hh", "gru.bias_hh", "from_hidden"),
        node("Split", "from_input splits", "r_i z_i n_i", axis=1),
        node("Split", "from_hidden splits", "r_h z_h n_h", axis=1),
        node("Add", "r_i r_h", "r_linear"),
        node("Sigmoid", "r_linear", "r"),
        node("Add", "z_i z_h", "z_linear"),
        node("Sigmoid", "z_linear", "z"),
        node("Mul", "r n_h", "n_reset"),
        node("Add", "n_i n_reset", "n_linear"),
        node("Tanh", "n_linear", "n"),
        node("Sub", "hidden n", "difference"),
        node("Mul", "z difference", "kept"),
        node("Add", "n kept", "next_hidden"),
        dense("next_hidden", "output.weight", "output.bias", "action"),
    ]

    def value(name: str, size: int) -> Any:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", size])

    graph = helper.make_graph(
        nodes,
        "foundation_policy_step",
        [value("observation", OBSERVATION_SIZE), value("hidden", n)],
        [value("action", ACTION_SIZE), value("next_hidden", n)],
        [numpy_helper.from_array(array, name) for name, array in {**constants, "splits": splits}.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR)
    model.producer_name = "control-stack"
    initial = json.dumps(w["gru.initial_hidden"].tolist())
    helper.set_model_props(model, {"initial_hidden": initial, "card": json.dumps(w.card)})
    checker.check_model(model, full_check=True)
    return model

"""What cannot be bounded is refused with a reason."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from random_networks import mixed_network, relu_network

from control_stack.bounds import (
    Affine,
    Box,
    Concat,
    Input,
    Network,
    Product,
    Relu,
    Slice,
    Sum,
    Tanh,
    interval_bounds,
    linear_bounds,
    lp_bounds,
    mip_bounds,
    preactivation_bounds,
    reachable_boxes,
    sampled_bounds,
    split_bounds,
)
from control_stack.bounds.network import Node
from control_stack.errors import InvalidInput, MissingDependency


@pytest.mark.parametrize(
    ("lower", "upper", "words"),
    [
        ([0.0, np.nan], [1.0, 1.0], "lower of input 1 is NaN"),
        ([0.0, 0.0], [np.inf, 1.0], "upper of input 0 is unbounded"),
        ([0.0, 2.0], [1.0, 1.0], "input 1 is empty: lower 2 > upper 1"),
        ([0.0, 0.0], [1.0], "shape"),
        (0.0, 1.0, "shape"),
        ([], [], "shape"),
        (["a"], [1.0], "not an array of numbers"),
        ([[0.0, 0.0], [0.0, 3.0]], [[1.0, 1.0], [1.0, 1.0]], "input 1 is empty"),
    ],
)
def test_bad_boxes(lower, upper, words: str):
    with pytest.raises(InvalidInput, match=words):
        Box(lower, upper)


def test_bad_torch_boxes():
    torch = pytest.importorskip("torch")
    with pytest.raises(InvalidInput, match="lower of input 0 is NaN"):
        Box(torch.tensor([float("nan")]), torch.tensor([1.0]))
    with pytest.raises(InvalidInput, match="one side is a torch tensor"):
        Box(torch.tensor([0.0]), np.ones(1))
    assert Box(torch.zeros(2), torch.ones(2)).lower.dtype == torch.float64


class Softmax(Node):
    def __init__(self, of: Node):
        super().__init__(of.size, of)


X = Input(2)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Network(Relu(Softmax(X))), "no bounds for layer Softmax"),
        (lambda: Network(Sum(X, Input(2))), "one Input, this one has 2"),
        (lambda: Affine(X, np.ones((3, 3))), "do not fit an input of 2"),
        (lambda: Affine(X, [[np.nan, 1.0]]), "weight is not finite"),
        (lambda: Affine(X, np.ones((1, 2)), [np.inf]), "bias is not finite"),
        (lambda: Relu(X, ["relu"]), "1 gates for 2"),
        (lambda: Relu(X, ["relu", "elu"]), "unknown gate 'elu'"),
        (lambda: Product(X, Slice(X, 0, 1)), "sizes 2 and 1"),
        (lambda: Sum(X, Slice(X, 0, 1)), "sizes 2, 1"),
        (lambda: Slice(X, 1, 3), "does not lie within 2"),
        (lambda: Concat(), "at least one component"),
        (lambda: Tanh(np.ones(2)), "takes layers, got ndarray"),
    ],
)
def test_bad_networks(make, words: str):
    with pytest.raises(InvalidInput, match=words):
        make()


BOX = Box(-np.ones(3), np.ones(3))


@pytest.mark.parametrize(
    "method", [interval_bounds, linear_bounds, split_bounds, lp_bounds, mip_bounds, sampled_bounds]
)
def test_a_box_of_another_dimension(method):
    with pytest.raises(InvalidInput, match="a box of 3 inputs for a network of 2"):
        method(relu_network(0, 2), BOX)


@pytest.mark.parametrize("method", [lp_bounds, mip_bounds])
def test_programs_name_the_layer_that_they_do_not_take(method):
    network = mixed_network(0)
    box = Box(-np.ones(network.inputs), np.ones(network.inputs))
    with pytest.raises(InvalidInput, match=r"layer \d+ is (Tanh|Sigmoid|Product)"):
        method(network, box)


def test_overflow_names_the_layer():
    x = Input(1)
    network = Network(Product(Affine(x, [[1e200]]), Affine(x, [[1e200]])))
    with np.errstate(over="ignore", invalid="ignore"), pytest.raises(InvalidInput, match="overflow float64"):
        linear_bounds(network, Box([-1.0], [1.0]))


def test_bad_budgets_and_methods():
    network = relu_network(0)
    with pytest.raises(InvalidInput, match="at least 1 box"):
        split_bounds(network, BOX, 0)
    with pytest.raises(InvalidInput, match="at least 2 points"):
        sampled_bounds(network, BOX, 1)
    with pytest.raises(InvalidInput, match="by 'magic'"):
        preactivation_bounds(network, BOX, "magic")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("states", "inputs", "words"),
    [(3, (4, 1), "does not take 3 states"), (2, (4, 2), "2 inputs"), (2, (1,), "do not fit")],
)
def test_bad_horizons(states: int, inputs: tuple[int, ...], words: str):
    state, plan = Box(np.zeros(states), np.ones(states)), Box(np.zeros(inputs), np.ones(inputs))
    with pytest.raises(InvalidInput, match=words):
        reachable_boxes(relu_network(0), state, plan)


def test_zonotopes_of_other_layers_and_unknown_methods_are_refused():
    x = Input(2)
    state, plan = Box([0.0], [0.0]), Box(np.zeros((2, 1)), np.ones((2, 1)))
    with pytest.raises(InvalidInput, match="layer 2 is Tanh"):
        reachable_boxes(Network(Tanh(Affine(x, [[1.0, 1.0]]))), state, plan, "zonotope")
    with pytest.raises(InvalidInput, match="by 'magic'"):
        reachable_boxes(Network(Affine(x, [[1.0, 1.0]])), state, plan, "magic")  # type: ignore[arg-type]


def test_without_highspy_only_the_programs_are_missing(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "highspy", None)
    with pytest.raises(MissingDependency, match=r"\[mip\]"):
        lp_bounds(relu_network(0), BOX)
    assert linear_bounds(relu_network(0), BOX).sound


def test_neither_torch_nor_highspy_is_imported():
    code = (
        "import sys, numpy as np, control_stack.bounds as b\n"
        "x = b.Input(2)\n"
        "b.split_bounds(b.Network(b.Tanh(x)), b.Box(-np.ones(2), np.ones(2)))\n"
        "sys.exit(1 if {'torch', 'highspy'} & set(sys.modules) else 0)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

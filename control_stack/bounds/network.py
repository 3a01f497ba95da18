"""A feed-forward computation as an expression: nodes that know their parents.

    x = Input(3)
    a = Relu(Affine(x, W1, b1))
    net = Network(Sum(Slice(x, 0, 2), Affine(a, W2, b2)))     # residual: x+ = x + f(x, u)
    net(points)                                              # (..., 3) -> (..., 2)

It is a description, not an autograd: eight layers with known bounds. A sandwich layer is Affine, Relu, Affine; a GRU
step is in ``policy.py``.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from control_stack.bounds.arrays import Tensor, like, namespace
from control_stack.errors import InvalidInput
from control_stack.types import Array

GATES = ("relu", "identity", "zero")


class Node:
    """One vector of an expression; identity is by object, so that a node used twice is computed once.

    Attributes:
        size: Components of the vector.
        parents: Nodes it is computed from.
    """

    def __init__(self, size: int, *parents: Node):
        for parent in parents:
            if not isinstance(parent, Node):
                raise InvalidInput(f"{type(self).__name__}: a layer takes layers, got {type(parent).__name__}")
        if size < 1:
            raise InvalidInput(f"{type(self).__name__}: a layer needs at least one component")
        self.size, self.parents = size, parents

    def on(self, parents: Sequence[Node]) -> Node:
        """The same layer on other parents of the same sizes."""
        twin = copy.copy(self)
        twin.parents = tuple(parents)
        return twin


class Input(Node):
    """The argument of the network, (size,)."""

    def __init__(self, size: int):
        super().__init__(size)


class Affine(Node):
    """weight (m, n) of (n,) + bias (m,), stored as float64 (exact for float32 weights)."""

    def __init__(self, of: Node, weight: ArrayLike, bias: ArrayLike | None = None):
        self.weight = _matrix(weight, "weight")
        self.bias = np.zeros(len(self.weight)) if bias is None else _matrix(bias, "bias")
        super().__init__(len(self.weight), of)
        if self.weight.shape != (self.size, of.size) or self.bias.shape != (self.size,):
            raise InvalidInput(
                f"Affine: weight {self.weight.shape} and bias {self.bias.shape} do not fit an input of {of.size}"
            )


class Relu(Node):
    """max(0, x), per component or gated: "relu", "identity" (passes) or "zero" (dropped)."""

    def __init__(self, of: Node, gates: Sequence[str] | None = None):
        super().__init__(of.size, of)
        self.gates = ("relu",) * of.size if gates is None else tuple(gates)
        if len(self.gates) != of.size:
            raise InvalidInput(f"Relu: {len(self.gates)} gates for {of.size} components")
        for gate in self.gates:
            if gate not in GATES:
                raise InvalidInput(f"Relu: unknown gate '{gate}'; expected one of: {', '.join(GATES)}")

    def mask(self, gate: str) -> Array:
        """(size,) 1 for components with this gate, 0 for others."""
        return np.array([float(g == gate) for g in self.gates])


class Tanh(Node):
    """tanh x, per component."""

    def __init__(self, of: Node):
        super().__init__(of.size, of)


class Sigmoid(Node):
    """1 / (1 + exp(-x)) = (1 + tanh(x / 2)) / 2, per component."""

    def __init__(self, of: Node):
        super().__init__(of.size, of)


class Product(Node):
    """x y, per component."""

    def __init__(self, first: Node, second: Node):
        super().__init__(first.size, first, second)
        if first.size != second.size:
            raise InvalidInput(f"Product: sizes {first.size} and {second.size} differ")


class Sum(Node):
    """x + y + ..., per component."""

    def __init__(self, *terms: Node):
        super().__init__(terms[0].size if terms else 0, *terms)
        if any(term.size != self.size for term in terms):
            raise InvalidInput(f"Sum: sizes {', '.join(str(term.size) for term in terms)} differ")


class Concat(Node):
    """[x, y, ...]."""

    def __init__(self, *parts: Node):
        super().__init__(sum(part.size for part in parts), *parts)


class Slice(Node):
    """x[start:stop]."""

    def __init__(self, of: Node, start: int, stop: int):
        if not 0 <= start < stop <= of.size:
            raise InvalidInput(f"Slice: {start}:{stop} does not lie within {of.size} components")
        super().__init__(stop - start, of)
        self.start, self.stop = start, stop


LAYERS = (Input, Affine, Relu, Tanh, Sigmoid, Product, Sum, Concat, Slice)
NONLINEAR = (Relu, Tanh, Sigmoid, Product)


class Network:
    """A function from one Input to an output node.

    Attributes:
        nodes: All layers in an order in which each follows its parents; the input first, the output last.
        parents: Positions in ``nodes`` of the parents of each.
        inputs, outputs: Sizes.
        nonlinear: Positions of the activations and products.

    Raises:
        InvalidInput: A layer that has no bounds (named), or none or several inputs.
    """

    def __init__(self, output: Node):
        self.nodes = _ordered(output)
        position = {node: k for k, node in enumerate(self.nodes)}
        self.parents = tuple(tuple(position[p] for p in node.parents) for node in self.nodes)
        self.inputs, self.outputs = self.nodes[0].size, output.size
        self.nonlinear = tuple(k for k, node in enumerate(self.nodes) if isinstance(node, NONLINEAR))

    def __call__(self, x: Tensor) -> Tensor:
        """(..., inputs) -> (..., outputs), in the arithmetic of x."""
        return self.values(x)[-1]

    def values(self, x: Tensor) -> list[Tensor]:
        """Values of all ``nodes``."""
        xp, out = namespace(x), [x]
        for node, parents in list(zip(self.nodes, self.parents, strict=True))[1:]:
            given = [out[p] for p in parents]
            if isinstance(node, Affine):
                value = given[0] @ like(node.weight, x).swapaxes(0, 1) + like(node.bias, x)
            elif isinstance(node, Relu):
                value = given[0] * like(node.mask("identity"), x)
                value = value + xp.clip(given[0], 0.0, None) * like(node.mask("relu"), x)
            elif isinstance(node, Tanh):
                value = xp.tanh(given[0])
            elif isinstance(node, Sigmoid):
                value = 0.5 + 0.5 * xp.tanh(0.5 * given[0])
            elif isinstance(node, Product):
                value = given[0] * given[1]
            elif isinstance(node, Sum):
                value = sum(given[1:], given[0])
            elif isinstance(node, Concat):
                value = xp.concatenate(given, -1)
            elif isinstance(node, Slice):
                value = given[0][..., node.start : node.stop]
            out.append(value)
        return out

    def digest(self) -> str:
        """SHA-256 of structure and weights: equal for equal functions written in the same way."""
        sha = hashlib.sha256()
        for node, parents in zip(self.nodes, self.parents, strict=True):
            sha.update(f"{type(node).__name__} {node.size} {parents};".encode())
            if isinstance(node, Affine):
                sha.update(node.weight.tobytes() + node.bias.tobytes())
            elif isinstance(node, Relu):
                sha.update(",".join(node.gates).encode())
            elif isinstance(node, Slice):
                sha.update(f"{node.start}".encode())
        return sha.hexdigest()

    def on(self, argument: Node) -> list[Node]:
        """Copies of all ``nodes`` with the input replaced by ``argument``: composition f(g(x))."""
        if argument.size != self.inputs:
            raise InvalidInput(f"a network of {self.inputs} inputs does not take a layer of {argument.size}")
        out: list[Node] = [argument]
        for node, parents in list(zip(self.nodes, self.parents, strict=True))[1:]:
            out.append(node.on([out[p] for p in parents]))
        return out


def _matrix(value: ArrayLike, what: str) -> Array:
    array = np.array(value, dtype=float)
    if not np.isfinite(array).all():
        raise InvalidInput(f"Affine: {what} is not finite")
    array.setflags(write=False)
    return array


def _ordered(output: Node) -> tuple[Node, ...]:
    """Depth first without recursion: unrolled networks are deep."""
    done: dict[Node, None] = {}
    stack = [(output, False)]
    while stack:
        node, visited = stack.pop()
        if visited:
            done[node] = None
        elif node not in done:
            if type(node) not in LAYERS:
                names = ", ".join(layer.__name__ for layer in LAYERS)
                raise InvalidInput(f"no bounds for layer {type(node).__name__}; known layers: {names}")
            stack.append((node, True))
            stack += [(parent, False) for parent in reversed(node.parents)]
    inputs = [node for node in done if isinstance(node, Input)]
    if len(inputs) != 1:
        raise InvalidInput(f"a network has one Input, this one has {len(inputs)}; slice one Input into its parts")
    return (inputs[0], *(node for node in done if node is not inputs[0]))

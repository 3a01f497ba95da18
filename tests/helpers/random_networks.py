"""Networks for the tests of bounds, and their values in exact arithmetic."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from control_stack.bounds import Affine, Box, Concat, Input, Network, Node, Product, Relu, Sigmoid, Slice, Sum, Tanh


def random_affine(of: Node, size: int, random: np.random.Generator, scale: float = 1.0) -> Affine:
    weight = scale * random.standard_normal((size, of.size)) / np.sqrt(of.size)
    return Affine(of, weight, 0.5 * random.standard_normal(size))


def relu_network(seed: int, inputs: int = 3, widths: tuple[int, ...] = (6, 6), outputs: int = 2) -> Network:
    """Residual ReLU network with some identity and zero gates in its last layer."""
    random = np.random.default_rng(seed)
    x = Input(inputs)
    a: Node = x
    for width in widths[:-1]:
        a = Relu(random_affine(a, width, random, 1.5))
    a = Relu(random_affine(a, widths[-1], random, 1.5), random.choice(["relu"] * 4 + ["identity", "zero"], widths[-1]))
    return Network(Sum(random_affine(a, outputs, random), random_affine(x, outputs, random)))


def mixed_network(seed: int) -> Network:
    """Every kind of layer, with values used twice."""
    random = np.random.default_rng(seed)
    scale = float(random.choice([0.3, 1.0, 4.0]))
    x = Input(int(random.integers(1, 5)))
    a = Tanh(random_affine(x, 5, random, scale))
    b = Sigmoid(random_affine(Concat(x, a), 5, random, scale))
    c = Relu(random_affine(b, 5, random, scale), random.choice(["relu", "identity", "zero"], 5))
    d = Sum(Product(a, c), b, random_affine(x, 5, random, scale))
    return Network(Concat(Product(Slice(d, 0, 2), Slice(d, 3, 5)), random_affine(Tanh(d), 2, random)))


def random_box(network: Network, seed: int, *batch: int) -> Box:
    """Boxes from points to some units wide, some with sides of width 0."""
    random = np.random.default_rng(seed)
    centre = random.uniform(-1.0, 1.0, (*batch, network.inputs))
    radius = 10.0 ** random.uniform(-6.0, 0.5, (*batch, 1)) * random.uniform(0.0, 1.0, centre.shape)
    radius[random.random(centre.shape) < 0.1] = 0.0
    return Box(centre - radius, centre + radius)


def points_in(box: Box, count: int, seed: int) -> np.ndarray:
    """(count, ..., n) corners, and points between them."""
    part = np.random.default_rng(seed).random((count, *box.lower.shape))
    part[: count // 2] = np.round(part[: count // 2])
    return np.clip(box.lower + part * (box.upper - box.lower), box.lower, box.upper)


def exact_values(network: Network, x: np.ndarray) -> list[Fraction]:
    """The network at one point in rational arithmetic: no layer but tanh and sigmoid is beyond it."""
    values: list[list[Fraction]] = [[Fraction(float(v)) for v in x]]
    for node, parents in list(zip(network.nodes, network.parents, strict=True))[1:]:
        given = [values[p] for p in parents]
        if isinstance(node, Affine):
            rows = [[Fraction(float(w)) for w in row] for row in node.weight]
            bias = [Fraction(float(b)) for b in node.bias]
            terms = [sum(w * v for w, v in zip(row, given[0], strict=True)) for row in rows]
            values.append([t + b for t, b in zip(terms, bias, strict=True)])
        elif isinstance(node, Relu):
            kept = {"relu": lambda v: max(v, Fraction(0)), "identity": lambda v: v, "zero": lambda v: Fraction(0)}
            values.append([kept[gate](v) for gate, v in zip(node.gates, given[0], strict=True)])
        elif isinstance(node, Product):
            values.append([a * b for a, b in zip(*given, strict=True)])
        elif isinstance(node, Sum):
            values.append([sum(column, Fraction(0)) for column in zip(*given, strict=True)])
        elif isinstance(node, Concat):
            values.append([v for part in given for v in part])
        elif isinstance(node, Slice):
            values.append(given[0][node.start : node.stop])
        else:
            raise TypeError(type(node).__name__)
    return values[-1]

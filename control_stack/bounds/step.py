"""One step of a ReLU model as affine expressions, in which linear units are multiplied away.

    z = Z [x, u, h] + z0,   h = max(0, z),   x+ = x + D [x, u, h] + d0

Z reads only the h before its own row. The same matrices serve every step of a zonotope's or a mixed-integer program's
horizon.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from control_stack.bounds.network import Affine, Concat, Network, Relu, Slice, Sum
from control_stack.errors import InvalidInput
from control_stack.types import Array


@dataclass(frozen=True)
class Rows:
    """weight (m, k) of the first k quantities + bias (m,).

    Attributes:
        terms: (m, k) at least |weight|. offsets: (m,) at least |bias|. What multiplying layers together has rounded
            away is at most gamma_n times these, with n the products and sums on the way.
    """

    weight: Array
    bias: Array
    terms: Array
    offsets: Array

    def __getitem__(self, rows: NDArray[np.intp] | slice) -> Rows:
        return Rows(*(getattr(self, field.name)[rows] for field in fields(self)))

    @cached_property
    def positive(self) -> Array:
        """max(weight, 0)."""
        return np.maximum(self.weight, 0.0)

    @cached_property
    def negative(self) -> Array:
        """min(weight, 0)."""
        return np.minimum(self.weight, 0.0)

    def on(self, node: Affine) -> Rows:
        """weight and bias of an affine layer of these."""
        size = np.abs(node.weight)
        return Rows(
            node.weight @ self.weight, node.weight @ self.bias + node.bias,
            size @ self.terms, size @ self.offsets + np.abs(node.bias),
        )  # fmt: skip

    @staticmethod
    def added(parts: list[Rows]) -> Rows:
        """Their sum."""
        return Rows(*(sum(getattr(part, field.name) for part in parts) for field in fields(Rows)))

    @staticmethod
    def joined(parts: list[Rows]) -> Rows:
        """One below the other."""
        return Rows(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(Rows)))


@dataclass(frozen=True)
class StepTemplate:
    """The matrices of the module's equation, for n ReLUs.

    Attributes:
        network: The step.
        rows: Z, z0. after: I + D, d0. moved: D, d0.
        units: For each Relu node of the network, which of its components are the h, in order.
        roundings: On the way to any number of these.
    """

    network: Network
    rows: Rows
    after: Rows
    moved: Rows
    units: tuple[NDArray[np.intp], ...]
    roundings: int

    @property
    def arguments(self) -> Array:
        """Z (n, nx + nu + n)."""
        return self.rows.weight

    @property
    def constants(self) -> Array:
        """z0 (n,)."""
        return self.rows.bias

    @property
    def change(self) -> Array:
        """D (nx, nx + nu + n)."""
        return self.moved.weight

    @property
    def drift(self) -> Array:
        """d0 (nx,)."""
        return self.moved.bias

    @cached_property
    def parts(self) -> tuple[list[Rows], Rows]:
        """Rows of each layer's arguments over what they read; those of D and of I + D, one below the other."""
        layers, row, reads = [], 0, self.rows.weight.shape[1] - self.relus
        for units in self.units:
            part = self.rows[row : row + len(units)]
            columns = slice(reads + row)  # a row reads only units of earlier layers
            layers.append(Rows(part.weight[:, columns], part.bias, part.terms[:, columns], part.offsets))
            row += len(units)
        return layers, Rows.joined([self.moved, self.after])

    @property
    def relus(self) -> int:
        """n."""
        return len(self.constants)


@lru_cache(maxsize=32)
def step_template(network: Network, nx: int) -> StepTemplate:
    """Of a network [x, u] -> x+.

    Raises:
        InvalidInput: A layer that is not affine or a ReLU; the message names it.
    """
    n_in = network.inputs
    relus = [node for node in network.nodes if isinstance(node, Relu)]
    units = [np.flatnonzero(node.mask("relu") > 0.0) for node in relus]
    width = n_in + sum(len(of) for of in units)

    def identity(n: int) -> Rows:
        return Rows(np.eye(n, width), np.zeros(n), np.eye(n, width), np.zeros(n))

    known, rows = [identity(n_in)], [identity(0)]
    column, roundings = n_in, 8
    for k, (node, parents) in enumerate(zip(network.nodes, network.parents, strict=True)):
        if k == 0:
            continue
        given = [known[p] for p in parents]
        roundings += 1 + (node.weight.shape[1] + 1 if isinstance(node, Affine) else len(given))
        if isinstance(node, Affine):
            known.append(given[0].on(node))
        elif isinstance(node, Sum):
            known.append(Rows.added(given))
        elif isinstance(node, Concat):
            known.append(Rows.joined(given))
        elif isinstance(node, Slice):
            known.append(given[0][node.start : node.stop])
        elif isinstance(node, Relu):
            relu, passed = np.flatnonzero(node.mask("relu") > 0.0), node.mask("identity")
            rows.append(given[0][relu])
            parts = (getattr(given[0], field.name) for field in fields(Rows))
            through = [part * passed.reshape(-1, *[1] * (part.ndim - 1)) for part in parts]
            for matrix in (through[0], through[2]):
                matrix[relu, column + np.arange(len(relu))] = 1.0
            column += len(relu)
            known.append(Rows(*through))
        else:
            raise InvalidInput(
                f"zonotopes and mixed-integer programs take affine and ReLU layers only; layer {k} is "
                f"{type(node).__name__}"
            )
    after, same = known[-1], np.eye(nx, width)
    moved = Rows(after.weight - same, after.bias, after.terms + same, after.offsets)
    return StepTemplate(network, Rows.joined(rows), after, moved, tuple(units), roundings)

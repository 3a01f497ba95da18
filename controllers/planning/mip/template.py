"""One step of a ReLU model as affine expressions, in which linear units are multiplied away.

    z = Z [x, u, h] + z0,   h = max(0, z),   x+ = x + D [x, u, h] + d0

Z reads only the h before its own row. The same matrices serve every step of every problem with this model.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from control_stack.bounds import Affine, Concat, Network, Relu, Slice, Sum
from control_stack.errors import InvalidInput
from control_stack.types import Array


@dataclass(frozen=True)
class StepTemplate:
    """The matrices of the module's equation, for n ReLUs.

    Attributes:
        arguments: Z (n, nx + nu + n). constants: z0 (n,).
        change: D (nx, nx + nu + n). drift: d0 (nx,).
        units: For each Relu node of the network, which of its components are the h, in order.
    """

    arguments: Array
    constants: Array
    change: Array
    drift: Array
    units: tuple[NDArray[np.intp], ...]

    @property
    def relus(self) -> int:
        """n."""
        return len(self.constants)


def step_template(network: Network, nx: int) -> StepTemplate:
    """Of a network [x, u] -> x+.

    Raises:
        InvalidInput: A layer that is not affine or a ReLU; the message names it.
    """
    n_in = network.inputs
    relus = [node for node in network.nodes if isinstance(node, Relu)]
    units = [np.flatnonzero(node.mask("relu") > 0.0) for node in relus]
    width = n_in + sum(len(of) for of in units)
    known: list[tuple[Array, Array]] = [(np.eye(n_in, width), np.zeros(n_in))]
    rows, constants = [np.zeros((0, width))], [np.zeros(0)]
    column = n_in
    for k, (node, parents) in enumerate(zip(network.nodes, network.parents, strict=True)):
        if k == 0:
            continue
        matrices, offsets = zip(*(known[p] for p in parents), strict=True)
        if isinstance(node, Affine):
            known.append((node.weight @ matrices[0], node.weight @ offsets[0] + node.bias))
        elif isinstance(node, Sum):
            known.append((sum(matrices[1:], matrices[0]), sum(offsets[1:], offsets[0])))
        elif isinstance(node, Concat):
            known.append((np.concatenate(matrices), np.concatenate(offsets)))
        elif isinstance(node, Slice):
            known.append((matrices[0][node.start : node.stop], offsets[0][node.start : node.stop]))
        elif isinstance(node, Relu):
            relu, passed = np.flatnonzero(node.mask("relu") > 0.0), node.mask("identity")
            rows.append(matrices[0][relu])
            constants.append(offsets[0][relu])
            matrix = matrices[0] * passed[:, None]
            matrix[relu, column + np.arange(len(relu))] = 1.0
            column += len(relu)
            known.append((matrix, offsets[0] * passed))
        else:
            raise InvalidInput(
                f"the mixed-integer planner takes affine and ReLU layers only; layer {k} is {type(node).__name__}"
            )
    matrix, offset = known[-1]
    return StepTemplate(
        np.concatenate(rows), np.concatenate(constants), matrix - np.eye(nx, width), offset, tuple(units)
    )

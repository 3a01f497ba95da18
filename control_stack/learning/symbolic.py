"""CasADi twins of learned models. Networks stay MX matrix products: expanded to scalars they are many times slower."""

from __future__ import annotations

from typing import Any

from control_stack.bounds import Affine, Concat, Network, Relu, Slice, Sum, Tanh
from control_stack.errors import InvalidInput
from control_stack.quadrotor.symbolic import import_casadi


def step_function(network: Network, nx: int, nu: int, parameters: int = 0) -> Any:
    """casadi.Function f(x, u, p) -> x+ of a ReLU or tanh network [x, u, p] -> x+."""
    ca = import_casadi()
    x, u, p = ca.MX.sym("x", nx), ca.MX.sym("u", nu), ca.MX.sym("p", parameters)
    values = [ca.vertcat(x, u, p)]
    for node, parents in list(zip(network.nodes, network.parents, strict=True))[1:]:
        given = [values[k] for k in parents]
        if isinstance(node, Affine):
            value = ca.mtimes(ca.DM(node.weight), given[0]) + ca.DM(node.bias)
        elif isinstance(node, Relu):
            relu, identity = node.mask("relu"), node.mask("identity")
            value = ca.DM(relu) * ca.fmax(given[0], 0.0) if relu.any() else ca.MX.zeros(node.size)
            if identity.any():
                value = value + ca.DM(identity) * given[0]
        elif isinstance(node, Tanh):
            value = ca.tanh(given[0])
        elif isinstance(node, Sum):
            value = sum(given[1:], given[0])
        elif isinstance(node, Concat):
            value = ca.vertcat(*given)
        elif isinstance(node, Slice):
            value = given[0][node.start : node.stop]
        else:
            raise InvalidInput(f"no CasADi form of layer {type(node).__name__}")
        values.append(value)
    return ca.Function("step", [x, u, p], [values[-1]], ["x", "u", "p"], ["x_next"])

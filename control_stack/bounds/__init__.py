"""Bounds on what a network can compute over a box of inputs: proven, exact up to a solver, or merely seen.

Serves the mixed-integer planner (boxes of all that a plan reaches, bounds that a model keeps), verification of models
and policies, and Lipschitz constants. Runs on NumPy, or on torch when boxes are tensors (their device is kept); highspy
is needed for "lp" and "mip" only.
"""

from control_stack.bounds.box import Bounds, Box
from control_stack.bounds.interval import interval_bounds
from control_stack.bounds.jacobian import jacobian_bounds
from control_stack.bounds.linear import linear_bounds
from control_stack.bounds.milp import lp_bounds, mip_bounds
from control_stack.bounds.network import (
    Affine,
    Concat,
    Input,
    Network,
    Node,
    Product,
    Relu,
    Sigmoid,
    Slice,
    Sum,
    Tanh,
)
from control_stack.bounds.norms import lipschitz_bounds, norm_bounds
from control_stack.bounds.policy import gru, gru_policy
from control_stack.bounds.preactivation import StoredBounds, cache_key, preactivation_bounds, stored_bounds
from control_stack.bounds.reach import Reachable, reachable_boxes
from control_stack.bounds.sampling import sampled_bounds
from control_stack.bounds.splitting import split_bounds

__all__ = [
    "Affine",
    "Bounds",
    "Box",
    "Concat",
    "Input",
    "Network",
    "Node",
    "Product",
    "Reachable",
    "Relu",
    "Sigmoid",
    "Slice",
    "StoredBounds",
    "Sum",
    "Tanh",
    "cache_key",
    "gru",
    "gru_policy",
    "interval_bounds",
    "jacobian_bounds",
    "linear_bounds",
    "lipschitz_bounds",
    "lp_bounds",
    "mip_bounds",
    "norm_bounds",
    "preactivation_bounds",
    "reachable_boxes",
    "sampled_bounds",
    "split_bounds",
    "stored_bounds",
]

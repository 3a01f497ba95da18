"""Lipschitz dynamics made by hand or by chance, for tests."""

from __future__ import annotations

import numpy as np

from control_stack.learning.lipschitz.certificate import Certificate, by_norms
from control_stack.learning.lipschitz.dynamics import LipschitzDynamics
from control_stack.learning.lipschitz.network import CertifiedNetwork
from control_stack.learning.lipschitz.sdp import tightened
from control_stack.protocols import DynamicsSpec

TRAINING = {"command": "c", "seed": 0, "git_revision": "r", "wall_time_s": 1.0, "hardware": {}}


def random_network(seed: int, inputs: int, outputs: int, activation: str = "relu", widths=(12, 10)) -> CertifiedNetwork:
    """Random weights, channels of very different size, and the least constant that can be proved."""
    random = np.random.default_rng(seed)
    sizes = (inputs, *widths, outputs)
    weights = tuple(random.standard_normal((b, a)) / a**0.5 for a, b in zip(sizes[:-1], sizes[1:], strict=True))
    biases = tuple(0.5 * random.standard_normal(b) for b in sizes[1:])
    gamma, multipliers = tightened(weights)
    scales = 10.0 ** random.uniform(-2.0, 2.0, inputs), 10.0 ** random.uniform(-2.0, 2.0, outputs)
    certificate = Certificate(gamma, *scales, multipliers)
    return CertifiedNetwork(
        weights, biases, activation, random.standard_normal(inputs), random.standard_normal(outputs), certificate
    )  # fmt: skip


def spec_of(states: int, inputs: int, parameters: int = 0, dt: float = 0.1) -> DynamicsSpec:
    """Names with units."""
    return DynamicsSpec(
        tuple(f"x{k} [m]" for k in range(states)),
        tuple(f"u{k} [N]" for k in range(inputs)),
        tuple(f"p{k} [kg]" for k in range(parameters)),
        np.linspace(0.5, 1.0, parameters),
        dt,
    )


def random_model(seed: int, states=3, inputs=2, parameters=1, activation="relu") -> LipschitzDynamics:
    """A stable affine step with a random network on top."""
    random = np.random.default_rng(seed)
    n = states + inputs + parameters
    matrix = 0.3 * random.standard_normal((states, n))
    network = random_network(seed, n, states, activation)
    return LipschitzDynamics(
        spec_of(states, inputs, parameters), matrix, 0.1 * random.standard_normal(states), network
    )  # fmt: skip


def linear_model(matrix: np.ndarray, inputs: int = 1, bend: float = 0.0, activation: str = "relu") -> LipschitzDynamics:
    """x+ = matrix x (inputs without effect) + dt g with |dg| <= bend in SI units; g(0) is 0."""
    nx = len(matrix)
    random = np.random.default_rng(3)
    weights = [random.standard_normal((8, nx + inputs)), random.standard_normal((nx, 8))]
    weights[1] *= bend / by_norms(weights)[0]
    gamma, multipliers = tightened(weights)
    ones = np.ones(nx + inputs), np.ones(nx)
    network = CertifiedNetwork(
        tuple(weights), (np.zeros(8), np.zeros(nx)), activation, np.zeros(nx + inputs), np.zeros(nx),
        Certificate(gamma, *ones, multipliers),
    )  # fmt: skip
    return LipschitzDynamics(
        spec_of(nx, inputs), np.hstack([matrix, np.zeros((nx, inputs))]), np.zeros(nx), network
    )  # fmt: skip

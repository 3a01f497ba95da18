"""Flights of a quadrotor in a vertical plane, to learn from: python -m benchmarks.lipschitz_data --out DIR [--seed N].

    vy' = -a sin(phi) - d(v) vy,   vz' = a (1 + e(z)) cos(phi) - g - d(v) vz,   phi' = w,   w' = (w_c - w) / tau

with the thrust over mass a and the commanded rate w_c as inputs, drag d = d1 + d2 |v|, and the ground that pushes,
e = e0 exp(-z / h). Six states and two inputs: the largest system that the invariance proof takes.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from control_stack.learning.data import FILE, Dataset, dataset
from control_stack.protocols import DynamicsSpec
from control_stack.quadrotor.parameters import GRAVITY
from control_stack.types import Array

DT, _PARTS = 0.05, 10
DRAG, SPEED_DRAG = 0.25, 0.08  # 1/s, 1/m
GROUND, HEIGHT, LAG = 0.25, 0.3, 0.06  # of the thrust at z = 0, m, s
SPEC = DynamicsSpec(
    state=("y [m]", "z [m]", "vy [m/s]", "vz [m/s]", "phi [rad]", "rate [rad/s]"),
    inputs=("thrust over mass [m/s^2]", "commanded rate [rad/s]"),
    parameters=(),
    defaults=np.zeros(0),
    dt=DT,
)
HOVER = np.array([0.0, 1.0, 0.0, 0.0, 0.0, 0.0])
# Feedback of x - HOVER on (a - g, w_c): poles between -1 and -8 1/s.
FEEDBACK = np.array([[0.0, -5.0, 0.0, -4.0, 0.0, 0.0], [0.9, 0.0, 1.3, 0.0, -5.0, -0.3]])


def advance(x: Array, u: Array) -> Array:
    """(..., 6), (..., 2) -> (..., 6): Runge-Kutta over one step, inputs held."""
    h = DT / _PARTS
    for _ in range(_PARTS):
        k1 = _derivative(x, u)
        k2 = _derivative(x + 0.5 * h * k1, u)
        k3 = _derivative(x + 0.5 * h * k2, u)
        k4 = _derivative(x + h * k3, u)
        x = x + h / 6.0 * (k1 + 2.0 * k2 + 2.0 * k3 + k4)
    return x


def flights(seed: int, episodes: int = 240, steps: int = 40) -> Dataset:
    """Episodes around a hover 1 m up, held by a feedback under noise."""
    random = np.random.default_rng(seed)
    x = HOVER + random.uniform(-1.0, 1.0, (episodes, 6)) * [1.0, 0.7, 1.5, 1.0, 0.5, 2.0]
    states, inputs = [x], []
    for _ in range(steps):
        noise = random.normal(size=(episodes, 2)) * [2.5, 1.5]
        u = np.clip([GRAVITY, 0.0] + (x - HOVER) @ FEEDBACK.T + noise, [0.0, -6.0], [20.0, 6.0])
        x = advance(x, u)
        states.append(x)
        inputs.append(u)
    both = np.stack(states, 1), np.stack(inputs, 1)
    data = dataset(list(zip(*both, strict=True)), SPEC)
    return Dataset(data.states, data.inputs, SPEC, data.lengths, {"task": "planar-quadrotor", "seed": seed})


def _derivative(x: Array, u: Array) -> Array:
    z, vy, vz, phi, rate = (x[..., k] for k in range(1, 6))
    drag = DRAG + SPEED_DRAG * np.hypot(vy, vz)
    lift = u[..., 0] * (1.0 + GROUND * np.exp(-np.maximum(z, 0.0) / HEIGHT))
    turned = (u[..., 1] - rate) / LAG
    return np.stack(
        [vy, vz, -lift * np.sin(phi) - drag * vy, lift * np.cos(phi) - GRAVITY - drag * vz, rate, turned], -1
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Writes the data set into a folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", required=True, type=Path)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    print(flights(options.seed).save(options.out / FILE))


if __name__ == "__main__":
    main()

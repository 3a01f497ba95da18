"""Small data sets with known dynamics, made in NumPy: a disc that a pusher touches, and a map of known pieces."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from control_stack.learning.data import Dataset, dataset
from control_stack.protocols import DynamicsSpec

RADIUS = 1.0
# x+ = A x + B u + C max(0, W [x, u] + b): five kinks in the plane of x and u
KINKS = np.array([[1.0, 0.4, 0.0], [-0.6, 1.0, 0.0], [0.3, -0.9, 0.5], [0.0, 0.5, -1.0], [-1.0, -0.2, 0.6]])
OFFSETS = np.array([-0.2, 0.1, -0.1, 0.2, -0.3])
SLOPES = np.array([[-0.5, 0.3, 0.2, -0.3, 0.3], [0.2, -0.4, 0.4, 0.3, 0.2]])
LINEAR, DRIVEN = np.array([[0.9, 0.1], [-0.1, 0.85]]), np.array([[0.1], [0.3]])


def disc_step(x, u):
    """Disc relative to the pusher, in radii: the pusher moves by u, and pushes the disc out of itself."""
    r = x - u
    distance = np.linalg.norm(r, axis=-1, keepdims=True)
    return r * np.maximum(1.0, RADIUS / np.maximum(distance, 1e-9))


def disc_data(episodes: int = 200, steps: int = 15, seed: int = 0) -> Dataset:
    random = np.random.default_rng(seed)
    spec = DynamicsSpec(("disc.x [m]", "disc.y [m]"), ("pusher.x [m]", "pusher.y [m]"), (), np.zeros(0), 0.1)
    out = []
    for _ in range(episodes):
        angle = random.uniform(0.0, 2.0 * np.pi)
        x = [random.uniform(1.0, 1.8) * np.array([np.cos(angle), np.sin(angle)])]
        us = np.clip(0.15 * x[0] + random.normal(0.0, 0.25, (steps, 2)), -0.5, 0.5)
        for u in us:
            x.append(disc_step(x[-1], u))
        out.append((np.array(x), us))
    return dataset(out, spec)


def pieces_step(x, u):
    """The map of known pieces, (..., 2) and (..., 1) -> (..., 2)."""
    z = np.concatenate([x, u], -1) @ KINKS.T + OFFSETS
    return x @ LINEAR.T + u @ DRIVEN.T + np.maximum(z, 0.0) @ SLOPES.T


def pieces_data(episodes: int = 300, steps: int = 10, seed: int = 0) -> Dataset:
    random = np.random.default_rng(seed)
    spec = DynamicsSpec(("position [m]", "velocity [m/s]"), ("force [N]",), (), np.zeros(0), 0.1)
    out = []
    for _ in range(episodes):
        x, us = [random.uniform(-1.0, 1.0, 2)], random.uniform(-1.0, 1.0, (steps, 1))
        for u in us:
            x.append(pieces_step(x[-1], u))
        out.append((np.array(x), us))
    return dataset(out, spec)


def objects_spec(n: int) -> DynamicsSpec:
    """A pusher, and discs relative to it."""
    states = ("pusher.x [m]", "pusher.y [m]", *(f"disc_{k}.{axis} - pusher [m]" for k in range(n) for axis in "xy"))
    return DynamicsSpec(states, ("vx [m/s]", "vy [m/s]"), (), np.zeros(0), 0.1)


def objects_data(n: int = 3, seed: int = 0) -> Dataset:
    """Random walks of some discs, of no dynamics at all."""
    random = np.random.default_rng(seed)
    episodes = [(random.normal(0.3, 1.0, (6, 2 + 2 * n)).cumsum(0), random.normal(0.1, 2.0, (5, 2))) for _ in range(30)]
    return dataset(episodes, objects_spec(n))


def saved(data: Dataset, folder: Path) -> Path:
    """As a file, with a card."""
    return data.save(folder / "data.safetensors", {"task": "toy"})

"""Models made by hand whose best plans are known: a point that is moved, and a disc that is pushed head-on."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from control_stack.learning.sparse_relu import GatedLayer, SparseReLUDynamics
from control_stack.learning.spec import Goal, TaskSpec
from sim.tasks.planar import DT, planar_spec

STEP = 0.2  # the most that the point moves in a step
# In this start of pushing-disc the pusher stands beside the disc, in line with its centre to 0.2 mm, and pushes in +x.
HEAD_ON_SEED = 1551
_TOUCH = 0.05  # m between centres of pusher and disc
_TRAINING = dict.fromkeys(("command", "seed", "git_revision", "wall_time_s", "hardware"))


def point_spec(n: int = 2) -> TaskSpec:
    names = tuple(f"x{k} [m]" for k in range(n))
    return TaskSpec(
        state=names, inputs=tuple(f"u{k} [m]" for k in range(n)), parameters=(), defaults=np.zeros(0), dt=1.0,
        task="point", keypoints=(), state_lower=np.full(n, -2.0), state_upper=np.full(n, 2.0),
        input_lower=np.full(n, -STEP), input_upper=np.full(n, STEP), output_names=names, outputs=np.eye(n),
        weights=np.ones(n),
    )  # fmt: skip


def point(n: int = 2) -> SparseReLUDynamics:
    """x+ = x + u."""
    weight = np.hstack([np.zeros((n, n)), np.eye(n)])
    return SparseReLUDynamics(point_spec(n), (GatedLayer({0: weight}, np.zeros(n), ("identity",) * n),))


def goal_at(*target: float) -> Goal:
    return Goal(np.array(target), np.full(len(target), 0.01), np.zeros(len(target)))


def least_cost(x0, target, horizon: int) -> float:
    """Of the point: as fast as it may until it is there."""
    way = np.abs(np.asarray(target) - x0)
    return float(sum(np.maximum(way - STEP * t, 0.0).sum() for t in range(1, horizon + 1)))


def random_net(seed: int, n: int = 2, units: int = 8) -> SparseReLUDynamics:
    rng = np.random.default_rng(seed)
    hidden = GatedLayer({0: rng.standard_normal((units, 2 * n))}, 0.1 * rng.standard_normal(units), ("relu",) * units)
    last = GatedLayer({1: 0.3 * rng.standard_normal((n, units))}, np.zeros(n), ("identity",) * n)
    return SparseReLUDynamics(point_spec(n), (hidden, last))


def head_on() -> SparseReLUDynamics:
    """pushing-disc with one ReLU, true where the pusher is left of the disc and in line with its centre."""
    spec = planar_spec("pushing-disc", ("centre",), 0.08)
    # [pusher.x, pusher.y, relative x, relative y, vx, vy] -> how deep the pusher would stand in the disc.
    push = GatedLayer({0: np.array([[0.0, 0.0, -1.0, 0.0, DT, 0.0]])}, np.array([_TOUCH]), ("relu",))
    moved = np.zeros((4, 6))
    moved[0, 4] = moved[1, 5] = DT
    moved[2, 4] = moved[3, 5] = -DT
    out = GatedLayer({0: moved, 1: np.array([[0.0], [0.0], [1.0], [0.0]])}, np.zeros(4), ("identity",) * 4)
    return SparseReLUDynamics(spec, (push, out))


def saved(model: SparseReLUDynamics, path: Path) -> Path:
    model.save(path, training=_TRAINING, figures={})
    return path

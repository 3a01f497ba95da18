"""The gain network: from what a vehicle sees of one neighbour to the gain of its row against that neighbour.

    gain = LOWEST (HIGHEST / LOWEST)^sigmoid(w2 . tanh(W1 z + b1) + b2)

One small net for every pair, in NumPy. Whatever it answers, the row of the fixed gain stands beside: the net decides
who gives way, not whether the distance is kept. After Gao, Yang, Prorok, "Online control barrier functions for
decentralized multi-agent navigation", 2023, whose network adapts the barrier's parameters from local observations.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from control_stack.artefacts import tensors
from control_stack.errors import InvalidInput
from control_stack.safety.barrier.filter import Others
from control_stack.safety.barrier.pairs import HIGHEST, LOWEST
from control_stack.safety.crossing.seen import Policy, Seen, look
from control_stack.safety.crossing.setting import Crossing
from control_stack.types import Array, QuadrotorState

FEATURES = ("side", "ahead", "distance [m]", "closing [m/s]", "own distance to goal [1/3 m]")
_OUTPUT = f"gain of the row against one neighbour, {LOWEST:g} to {HIGHEST:g} 1/s, its logarithm between theirs"
_HIDDEN = 6
SHAPES = {"w1": (_HIDDEN, len(FEATURES)), "b1": (_HIDDEN,), "w2": (_HIDDEN,), "b2": (1,)}
SIZE = sum(int(np.prod(shape)) for shape in SHAPES.values())


def features(seen: Seen) -> Array:
    """(..., n, m, 5) of each neighbour: sine and cosine of where it is, seen towards the goal, distance, closing speed,
    and the own distance to the goal."""
    x, y = seen.place[..., 0], seen.place[..., 1]
    length = np.maximum(np.hypot(x, y), 1e-6)
    closing = -(seen.place * seen.motion).sum(-1) / length
    own = np.broadcast_to(seen.own[..., 0:1] / 3.0, length.shape)
    return np.stack([y / length, x / length, length, closing, own], axis=-1)


def gains_of(weights: Array) -> Policy:
    """The policy of a flat vector of SIZE weights; (B, SIZE) gives every world weights of its own."""
    flat, parts, at = np.asarray(weights, dtype=float), {}, 0
    for name, shape in SHAPES.items():
        size = int(np.prod(shape))
        parts[name] = flat[..., at : at + size].reshape(*flat.shape[:-1], *shape)
        at += size
    lead = (slice(None), None, None) if flat.ndim == 2 else ()

    def policy(seen: Seen) -> Array:
        z = features(seen)
        w1 = np.swapaxes(parts["w1"], -1, -2)
        hidden = np.tanh(z @ (w1[:, None] if flat.ndim == 2 else w1) + parts["b1"][lead])
        out = (hidden * parts["w2"][lead]).sum(-1) + (parts["b2"][..., 0][lead] if lead else parts["b2"][0])
        return np.asarray(LOWEST * (HIGHEST / LOWEST) ** (1.0 / (1.0 + np.exp(-out))))

    return policy


class Adapted:
    """The shipped network, or another, for one vehicle's ``SafetyFilter`` among others."""

    def __init__(self, weights: Array | None = None, lag: float = 0.0):
        """lag: s that what is seen is moved ahead by; the ``thrust.lag`` of the filter, as in training."""
        self._policy, self._lag = gains_of(load() if weights is None else weights), lag

    def __call__(self, state: QuadrotorState, others: Others, goal_w: Array) -> Others:
        """The others with the gains that are asked for against each of them, on the way to a goal ((3,) m, world)."""
        lag, there = self._lag, others.position.reshape(-1, 3)
        p, v = state.position_w[:2], state.velocity_w[:2]
        motion = others.velocity.reshape(-1, 3)[:, :2] - v
        place = there[:, :2] - p + lag * motion
        seen = look((p + lag * v)[None], v[None], np.asarray(goal_w, dtype=float)[None, :2], place[None], motion[None])
        return replace(others, gains=self._policy(seen)[0])


def save(path: str | Path, weights: Array, training: Mapping[str, Any], crossing: Crossing) -> None:
    """Writes weights and card."""
    parts, at = {}, 0
    for name, shape in SHAPES.items():
        size = int(np.prod(shape))
        parts[name] = np.asarray(weights[at : at + size], dtype=np.float32).reshape(shape)
        at += size
    card = {
        "kind": "barrier gains",
        "architecture": {name: list(shape) for name, shape in SHAPES.items()},
        "features": list(FEATURES),
        "output": _OUTPUT,
        "crossing": asdict(crossing),
        "training": dict(training),
    }
    tensors.write(path, parts, card)


def load(path: str | Path | None = None) -> Array:
    """(SIZE,) weights of a file, or the shipped ones. Raises InvalidInput for a card or shapes of something else."""
    file = Path(str(resources.files(__package__))) / "gains.safetensors" if path is None else Path(path)
    parts, card = tensors.read(file)
    known = {"kind": "barrier gains", "features": list(FEATURES), "output": _OUTPUT}
    if any(card.get(key) != value for key, value in known.items()):
        raise InvalidInput(f"{file}: these weights are no gain network of this version")
    for name, shape in SHAPES.items():
        if name not in parts or tuple(parts[name].shape) != shape or not np.isfinite(parts[name]).all():
            raise InvalidInput(f"{file}: '{name}' must be finite and of shape {shape}")
    return np.concatenate([np.asarray(parts[name], dtype=float).ravel() for name in SHAPES])

"""A stored example of inputs and outputs, by which who loads an exported policy knows that it is whole."""

from __future__ import annotations

import numpy as np

from control_stack.foundation.observation import ACTION_SIZE, OBSERVATION_SIZE
from control_stack.foundation.runtime import GRUPolicy
from control_stack.foundation.weights import Tensor

# Of the authors' checkpoint; mc_raptor computes offsets in the file from the shape it was compiled with.
STEPS, BATCH = 500, 2
_SEED = 0


def example(policy: GRUPolicy, steps: int = STEPS, batch: int = BATCH) -> tuple[Tensor, Tensor]:
    """Standard normal observations (steps, batch, 22) and the raw actions (steps, batch, 4) on them."""
    inputs = np.random.default_rng(_SEED).standard_normal((steps, batch, OBSERVATION_SIZE)).astype(np.float32)
    outputs = np.empty((steps, batch, ACTION_SIZE), np.float32)
    hidden = policy.initial_hidden(batch)
    for i in range(steps):
        outputs[i], hidden = policy.step(inputs[i], hidden)
    return inputs, outputs

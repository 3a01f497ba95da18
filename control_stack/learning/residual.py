"""Fits the acceleration that a quadrotor's equations leave out, from flights: ``ResidualQuadrotor``'s network."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from control_stack.algebra import rotate_inverse
from control_stack.errors import InvalidInput, MissingDependency
from control_stack.quadrotor.long_step import LongStepQuadrotor
from control_stack.quadrotor.residual import FEATURES, ResidualQuadrotor, TanhNetwork
from control_stack.types import Array


def residual_samples(
    model: LongStepQuadrotor, states: Array, inputs: Array, p: Array, over: int = 1
) -> tuple[Array, Array]:
    """What the network would have seen and should have said along a flight.

        a = R^T mean over n steps of (v_{k+1} - v of f(x_k, u_k, p)) / dt

    Args:
        model: Of the flight's level, with dt the time between its samples (the network is of no step).
        states: (T + 1, nx). inputs: (T, 4) held over the steps. p: (60,), wind included where known.
        over: n. The mean telescopes: what noise of velocities does to it falls like 1/n. R is that of the middle.

    Returns:
        Features (T + 1 - n, FEATURES), means over the steps as well, and accelerations in the body frame
        (T + 1 - n, 3), m/s^2.

    Raises:
        InvalidInput: Shapes that do not fit, or numbers that are not finite.
    """
    states, inputs, p = (np.asarray(a, dtype=float) for a in (states, inputs, p))
    count = len(inputs) + 1 - over
    if states.ndim != 2 or inputs.shape != (len(states) - 1, len(model.spec.inputs)) or count < 1:
        raise InvalidInput(f"residual: states {states.shape} and inputs {inputs.shape} are not those of one flight")
    if not all(np.isfinite(a).all() for a in (states, inputs, p)):
        raise InvalidInput("residual: a flight with numbers that are not finite")
    missing = (states[1:, 3:6] - model.step(states[:-1], inputs, p)[:, 3:6]) / model.spec.dt
    columns = [
        tuple(np.moveaxis(np.broadcast_to(a, (len(inputs), a.shape[-1])), -1, 0)) for a in (states[:-1], inputs, p)
    ]
    blank = TanhNetwork((np.zeros((3, FEATURES)),), (np.zeros(3),), np.zeros(FEATURES), np.ones(FEATURES), np.ones(3))
    z = np.stack(np.broadcast_arrays(*ResidualQuadrotor(model, blank).features(*columns)), axis=-1)
    middle = states[over // 2 : over // 2 + count, 6:10]
    body = rotate_inverse(tuple(middle.T), tuple(_means(missing, over).T))  # type: ignore[arg-type]
    return _means(z, over), np.stack(body, axis=-1)


def _means(values: Array, over: int) -> Array:
    """Of every ``over`` rows in turn."""
    total = np.vstack([np.zeros(values.shape[1]), np.cumsum(values, axis=0)])
    return (total[over:] - total[:-over]) / over


def fit_network(
    features: Array, targets: Array, hidden: Sequence[int] = (64, 64), epochs: int = 300, seed: int = 0,
    rate: float = 3e-3, decay: float = 1e-4, batch: int = 512, blind: Sequence[int] = (),
    progress: Callable[[int], None] = lambda epoch: None,
) -> TanhNetwork:  # fmt: skip
    """A tanh network by Adam with a cosine of its rate, on the squared error over the targets' variance.

    Inputs that never change, and those of ``blind``, get no weight: what they would do elsewhere is unknown.
    ``progress`` is told the number of epochs done.

    Raises:
        MissingDependency: torch is not installed.
    """
    try:
        import torch
    except ImportError:
        raise MissingDependency("torch", "learn") from None
    generator = torch.Generator().manual_seed(seed)
    mean, spread = features.mean(0), features.std(0)
    fixed = (spread < 1e-9) | np.isin(np.arange(len(mean)), blind)
    scale, scale_out = np.where(fixed, 1.0, spread), np.maximum(targets.std(0), 1e-9)
    z = torch.as_tensor(np.where(fixed, 0.0, (features - mean) / scale))
    y = torch.as_tensor(targets / scale_out)
    sizes = (z.shape[1], *hidden, y.shape[1])
    layers = []
    for rows, columns in zip(sizes[1:], sizes[:-1], strict=True):
        weight = torch.randn(rows, columns, dtype=z.dtype, generator=generator) / columns**0.5
        layers += [weight.requires_grad_(), torch.zeros(rows, dtype=z.dtype, requires_grad=True)]
    with torch.no_grad():
        layers[0][:, torch.as_tensor(fixed)] = 0.0
        layers[-2] *= 0.01  # begins at the nominal model
    steps = epochs * -(-len(z) // batch)
    optimizer = torch.optim.AdamW(layers, lr=rate, weight_decay=decay)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for epoch in range(epochs):
        for part in torch.randperm(len(z), generator=generator).split(batch):
            h = z[part]
            for k in range(0, len(layers) - 2, 2):
                h = torch.tanh(h @ layers[k].T + layers[k + 1])
            loss = torch.square(h @ layers[-2].T + layers[-1] - y[part]).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        progress(epoch + 1)
    arrays = [layer.detach().numpy().copy() for layer in layers]
    return TanhNetwork(tuple(arrays[0::2]), tuple(arrays[1::2]), mean, scale, scale_out)

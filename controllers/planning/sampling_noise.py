"""Noise with a power spectrum 1 / f^beta over the steps of a plan: smooth inputs reach further than white ones.

Source: Timmer, Koenig, "On generating power law noise", Astronomy and Astrophysics 300, 1995; for plans: Pinneri et
al., "Sample-efficient cross-entropy method for real-time planning", CoRL 2020.
"""

from __future__ import annotations

import numpy as np

from control_stack.types import Array


def coloured(rng: np.random.Generator, beta: float, samples: int, steps: int, inputs: int) -> Array:
    """(samples, steps, inputs) standard normal values, correlated over the steps; beta 0 is white, 2 a random walk.

    The constant part has the power of the lowest frequency that the horizon resolves.
    """
    frequency = np.fft.rfftfreq(steps)
    frequency[0] = 1.0 / steps
    scale = frequency ** (-0.5 * beta)
    parts = rng.standard_normal((2, samples, inputs, len(frequency)))
    # Parts without a partner of negative frequency are real, and carry the power of both.
    alone = np.zeros(len(frequency), dtype=bool)
    alone[0] = True
    if steps % 2 == 0:
        alone[-1] = True
    spectrum = scale * np.where(alone, np.sqrt(2.0) * parts[0], parts[0] + 1j * parts[1])
    variance = np.sum(np.where(alone, 2.0, 4.0) * scale**2) / steps**2
    return np.fft.irfft(spectrum, n=steps, axis=-1).swapaxes(1, 2) / np.sqrt(variance)

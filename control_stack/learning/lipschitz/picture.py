"""The picture of a fit: slopes at the data, the steepest one found, and the certificate above them all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from control_stack.learning.lipschitz.dynamics import LipschitzDynamics
from control_stack.types import Array

_INK, _FAINT, _GRID, _BLUE, _RED, _GREEN = "#22272E", "#6B7480", "#DDE1E6", "#0072B2", "#D55E00", "#009E73"
_POINTS = 4000


def slopes_picture(model: LipschitzDynamics, points: Array, steepest: float, path: Path, subtitle: str) -> Path:
    """Draws the distribution of |J| over points of the data, and slopes by channel under their bounds.

    Args:
        model: Whose residual.
        points: (N, n) of the data.
        steepest: Largest slope found anywhere in the data's range.
        path: The PNG to write. subtitle: Second line.
    """
    c, chosen = model.certificate, points[:: max(1, len(points) // _POINTS)]
    jacobians = _jacobians(model, chosen)
    norms = np.linalg.norm(jacobians / c.output_scale[:, None] * c.input_scale, 2, axis=(1, 2))
    figure = Figure(figsize=(11.0, 4.2), dpi=100, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(f"Slopes of the learned part, and what is proved\n{subtitle}", fontsize=13, color=_INK)
    left, right = figure.subplots(1, 2)
    left.hist(norms, bins=60, color=_BLUE, alpha=0.85)
    left.axvline(steepest, color=_GREEN, linewidth=1.6, label=f"steepest found {steepest:.3g}")
    left.axvline(c.gamma, color=_RED, linewidth=1.6, linestyle="--", label=f"certified gamma {c.gamma:.3g}")
    left.set_xlabel("slope at points of the data, scaled channels", fontsize=10, color=_INK)
    left.set_ylabel("points", fontsize=10, color=_INK)
    left.legend(fontsize=9, frameon=False)
    seen = np.abs(jacobians).max(0)  # (m, n), physical units
    share = seen / c.slopes()
    image = right.imshow(share, vmin=0.0, vmax=1.0, cmap="viridis", aspect="auto")
    names = (*model.spec.inputs, *model.spec.parameters)
    right.set_xticks(range(share.shape[1]), [*model.spec.state, *names], rotation=35, ha="right", fontsize=8)
    right.set_yticks(range(share.shape[0]), [f"d/dt {name}" for name in model.spec.state], fontsize=8)
    right.set_title("steepest at the data over its proved bound", fontsize=10, color=_INK, loc="left")
    figure.colorbar(image, ax=right)
    left.grid(True, color=_GRID, linewidth=0.8)
    left.set_axisbelow(True)
    left.tick_params(colors=_FAINT, labelsize=9)
    figure.savefig(path)
    return path


def _jacobians(model: LipschitzDynamics, points: Array) -> Array:
    """(N, m, n) in physical units."""
    network, c = model.network, model.certificate
    h = (points - network.center) / c.input_scale
    found: Array = np.eye(network.inputs) / c.input_scale[:, None]
    for weight, bias in zip(network.weights[:-1], network.biases[:-1], strict=True):
        z = h @ weight.T + bias
        h = np.tanh(z) if network.activation == "tanh" else np.maximum(z, 0.0)
        slope = 1.0 - h * h if network.activation == "tanh" else (z > 0.0) * 1.0
        found = slope[:, :, None] * (weight @ found)
    return c.output_scale[:, None] * (network.weights[-1] @ found)

"""A picture of arms as the simulator has them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from control_stack.types import Array


def arms_picture(images: Sequence[tuple[str, Array]], path: str | Path) -> Path:
    """Writes images (height, width, 3) of uint8 side by side, each with its title, into a PNG; returns its path."""
    # Late: processes that only simulate need no Matplotlib.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    height, width = images[0][1].shape[:2]
    figure = Figure(figsize=(3.0 * len(images), 3.0 * height / width + 0.35), dpi=110, facecolor="white",
                    layout="constrained")  # fmt: skip
    FigureCanvasAgg(figure)
    for axes, (title, image) in zip(figure.subplots(1, len(images), squeeze=False)[0], images, strict=True):
        axes.imshow(image)
        axes.set_title(title, fontsize=10, color="#22272E", loc="left")
        axes.set_axis_off()
    figure.savefig(path)
    return Path(path)

"""What a controller of an arm tells of a call, as key values of a diagnostic status."""

from __future__ import annotations

import math

from controllers.arm.base import ArmController


def values(controller: ArmController) -> dict[str, str]:
    """Status, cost and time of the last call, and what the model's parameters were."""
    result = controller.last_result
    return {
        "status": result.status,
        "cost": f"{result.cost:.6g}",
        "call_s": f"{controller.last_duration:.3e}",
        "solve_s": f"{result.solve_time:.3e}",
        "p": " ".join(f"{value:.4g}" for value in controller.p.tolist()),
        "p_std": " ".join(f"{value:.3g}" for value in controller.uncertainty.tolist() if math.isfinite(value)),
    }

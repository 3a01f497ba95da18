"""SOAP: Adam in the slowly turning eigenbasis of Shampoo's preconditioner.

For the gradient G (m, n) of a matrix, with means over updates:

    L = mean G G',  R = mean G' G;   columns of P, Q: their eigenvectors, refreshed now and then by one QR step
    W <- W - rate P A Q',   A = Adam's step of P' G Q;   vectors take Adam's step as they are

For small nets the factorisation costs little beside a rollout, and fewer updates than Adam's reach the same loss.
Source: Vyas et al. 2024, "SOAP: Improving and Stabilizing Shampoo using Adam" (arXiv 2409.11321); Gupta, Koren, Singer
2018, "Shampoo".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor


class Soap(torch.optim.Optimizer):
    """The optimiser.

    Args:
        parameters: Matrices (..., m, n), each of a stack with bases of its own, and vectors (n,) or (..., 1, n).
        lr: Learning rate, the length of a step per number.
        mean: Share of the old in all running means, per update.
        every: Updates between two refreshments of the bases.
    """

    def __init__(self, parameters: Iterable[Tensor], lr: float, mean: float = 0.95, every: int = 10):
        super().__init__(parameters, {"lr": lr})
        self._mean, self._every = mean, every

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        """One update of all parameters that have a gradient."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, parameter.grad, self.state[parameter], group["lr"])

    def _update(self, parameter: Tensor, gradient: Tensor, state: dict[str, Tensor], rate: float) -> None:
        gradient = gradient.contiguous()  # so that what is stored and read back goes on bit for bit
        matrix = parameter.dim() >= 2 and min(parameter.shape[-2:]) > 1
        if not state:
            state |= {"step": torch.tensor(0), "first": torch.zeros_like(gradient)}
            state["second"] = torch.zeros_like(gradient)
            if matrix:
                left, right = gradient @ gradient.mT, gradient.mT @ gradient
                state |= {"left": left, "left_basis": _eigenvectors(left)}
                state |= {"right": right, "right_basis": _eigenvectors(right)}
        state["step"] += 1
        fresh, count = 1.0 - self._mean, int(state["step"])
        state["first"].lerp_(gradient, fresh)
        first = state["first"]
        if matrix:
            state["left"].lerp_(gradient @ gradient.mT, fresh)
            state["right"].lerp_(gradient.mT @ gradient, fresh)
            into, out_of = state["left_basis"].mT, state["right_basis"]
            gradient, first = into @ gradient @ out_of, into @ first @ out_of
        state["second"].lerp_(gradient.square(), fresh)
        bias = 1.0 - self._mean**count
        change = (first / bias) / ((state["second"] / bias).sqrt() + 1e-8)
        if matrix:
            change = state["left_basis"] @ change @ state["right_basis"].mT
            if count % self._every == 0:
                for side in ("left", "right"):
                    # One step of orthogonal iteration: the bases turn slowly, so it keeps up.
                    state[f"{side}_basis"] = torch.linalg.qr(state[side] @ state[f"{side}_basis"])[0].contiguous()
        parameter.sub_(rate * change)


def _eigenvectors(matrix: Tensor) -> Tensor:
    """Those of the largest eigenvalues first, the order that orthogonal iteration keeps."""
    try:
        return torch.linalg.eigh(matrix)[1].flip(-1)
    except torch.linalg.LinAlgError:  # LAPACK in single precision, now and then, where many eigenvalues are nearly zero
        return torch.linalg.eigh(matrix.double())[1].flip(-1).to(matrix.dtype)

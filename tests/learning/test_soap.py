"""SOAP is Adam that does not care how a matrix is turned."""

from __future__ import annotations

import torch

from control_stack.learning.soap import Soap


def descended(gradient, start, steps=60, rate=0.01):
    parameter = start.clone()
    optimizer = Soap([parameter], lr=rate)
    for _ in range(steps):
        parameter.grad = gradient(parameter)
        optimizer.step()
    return parameter


def test_turned_problems_have_turned_paths():
    draw = torch.Generator().manual_seed(1)
    a, b, c, start = (torch.randn(*s, generator=draw, dtype=torch.float64) for s in ((5, 5), (4, 4), (5, 4), (5, 4)))
    p, _ = torch.linalg.qr(torch.randn(5, 5, generator=draw, dtype=torch.float64))
    q, _ = torch.linalg.qr(torch.randn(4, 4, generator=draw, dtype=torch.float64))

    def gradient(w):
        return a.T @ (a @ w @ b - c) @ b.T

    plain = descended(gradient, start)
    turned = descended(lambda w: p @ gradient(p.T @ w @ q) @ q.T, p @ start @ q.T)
    assert torch.allclose(turned, p @ plain @ q.T, atol=1e-4)
    assert not torch.allclose(plain, start, atol=0.1)


def test_a_vector_takes_adams_steps():
    draw = torch.Generator().manual_seed(2)
    start = torch.randn(7, generator=draw, dtype=torch.float64)
    scale = torch.logspace(-2.0, 2.0, 7, dtype=torch.float64)
    adam = start.clone().requires_grad_()
    other = torch.optim.Adam([adam], lr=0.01, betas=(0.95, 0.95))
    for _ in range(60):
        adam.grad = scale * adam.detach()
        other.step()
    assert torch.allclose(descended(lambda x: scale * x, start), adam.detach(), atol=1e-6)


def test_a_badly_scaled_matrix_is_solved_where_adam_still_walks():
    """Curvatures of 1 and 1e4 along axes that are turned against the numbers of the matrix."""
    draw = torch.Generator().manual_seed(3)
    turn, _ = torch.linalg.qr(torch.randn(6, 6, generator=draw, dtype=torch.float64))
    h = turn @ torch.diag(torch.logspace(0.0, 4.0, 6, dtype=torch.float64)) @ turn.T
    start = torch.randn(6, 6, generator=draw, dtype=torch.float64)

    def loss(w):
        return float((w * (h @ w)).sum())

    soap = descended(lambda w: h @ w, start, steps=400, rate=0.01)
    adam = start.clone().requires_grad_()
    other = torch.optim.Adam([adam], lr=0.01, betas=(0.95, 0.95))
    for _ in range(400):
        adam.grad = h @ adam.detach()
        other.step()
    assert loss(soap) < 0.1 * loss(adam.detach())


def test_each_of_a_stack_takes_the_steps_that_it_would_take_alone():
    draw = torch.Generator().manual_seed(4)
    a, start = (torch.randn(*s, generator=draw, dtype=torch.float64) for s in ((3, 5, 5), (3, 5, 4)))
    row = torch.randn(3, 1, 4, generator=draw, dtype=torch.float64)
    together = descended(lambda w: a.mT @ (a @ w), start)
    alone = [descended(lambda w, b=b: b.T @ (b @ w), s) for b, s in zip(a, start, strict=True)]
    assert torch.allclose(together, torch.stack(alone), atol=1e-5)
    vectors = [descended(lambda x: 2.0 * x, r[0]) for r in row]
    assert torch.allclose(descended(lambda x: 2.0 * x, row)[:, 0], torch.stack(vectors), atol=1e-9)


def test_single_precision_that_gives_up_is_helped_by_double(monkeypatch):
    draw = torch.Generator().manual_seed(3)
    target = torch.randn(6, 2, generator=draw) @ torch.randn(2, 5, generator=draw)
    eigh = torch.linalg.eigh

    def refusing(matrix):
        if matrix.dtype == torch.float32:
            raise torch.linalg.LinAlgError("too many repeated eigenvalues")
        return eigh(matrix)

    plain = descended(lambda w: w - target, torch.zeros(6, 5), steps=200)
    monkeypatch.setattr(torch.linalg, "eigh", refusing)
    helped = descended(lambda w: w - target, torch.zeros(6, 5), steps=200)
    assert helped.dtype == torch.float32 and torch.allclose(helped, plain, atol=1e-3)
    assert (helped - target).norm() < 0.8 * target.norm()

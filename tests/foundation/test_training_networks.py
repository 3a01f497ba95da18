"""Student and teachers compute what they claim; gradients are tamed vehicle by vehicle."""

from __future__ import annotations

import numpy as np
import torch
from random_policy import random_policy

from control_stack.foundation.training.objective import Cost, tame
from control_stack.foundation.training.student import HIDDEN_SIZE, act, initial_hidden, initial_weights
from control_stack.foundation.training.teachers import INPUT_SIZE, Teachers
from control_stack.foundation.weights import shapes

N = 24


def tensors(seed=0):
    policy = random_policy(seed)
    return policy, {name: torch.from_numpy(value.copy()) for name, value in policy.weights.tensors.items()}


def test_the_student_is_the_runtimes_policy_and_torchs_own_gru():
    policy, weights = tensors()
    cell = torch.nn.GRUCell(16, 16)
    with torch.no_grad():
        for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
            getattr(cell, name).copy_(weights[f"gru.{name}"])
    hidden, flown = initial_hidden(weights, N), policy.initial_hidden(N)
    own = weights["gru.initial_hidden"].expand(N, -1)
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        seen = torch.randn(22, N, generator=generator)
        action, hidden = act(weights, seen, hidden)
        other, flown = policy.step(seen.T.numpy(), flown)
        with torch.no_grad():
            own = cell(torch.relu(seen.T @ weights["input.weight"].T + weights["input.bias"]), own)
            third = own @ weights["output.weight"].T + weights["output.bias"]
        np.testing.assert_allclose(action.T.numpy(), other, atol=1e-5)
        np.testing.assert_allclose(hidden.T.numpy(), flown, atol=1e-6)
        np.testing.assert_allclose(hidden.T.numpy(), own.numpy(), atol=1e-6)
        np.testing.assert_allclose(action.T.numpy(), third.numpy(), atol=1e-5)


def test_a_student_of_the_original_width_has_2084_numbers():
    assert sum(int(np.prod(shape)) for shape in shapes(HIDDEN_SIZE).values()) == 2084
    weights = initial_weights(torch.Generator().manual_seed(0))
    assert {name: tuple(w.shape) for name, w in weights.items()} == shapes(HIDDEN_SIZE)


def test_stacked_teachers_are_each_alone():
    policies, each = 5, 4
    stack = Teachers(policies, 8)
    generator = torch.Generator().manual_seed(0)
    own = [Teachers(1, 8).initial_weights(generator) for _ in range(policies)]
    weights = {name: torch.cat([w[name] for w in own]) for name in own[0]}
    seen, more = torch.randn(22, policies * each), torch.randn(INPUT_SIZE - 22, policies * each)
    together, _ = stack.act(weights, seen, more, stack.initial_hidden(weights, policies * each))
    for k, alone in enumerate(own):
        mine = slice(k * each, (k + 1) * each)
        action, _ = Teachers(1, 8).act(alone, seen[:, mine], more[:, mine], torch.zeros(0, each))
        torch.testing.assert_close(together[:, mine], action)


def test_all_teachers_start_as_the_shared_net():
    shared = Teachers(1, 8).initial_weights(torch.Generator().manual_seed(0))
    stack = Teachers(3, 8)
    seen, more = torch.randn(22, 1).expand(-1, 3), torch.randn(INPUT_SIZE - 22, 1).expand(-1, 3)
    action, _ = stack.act(stack.stacked(shared), seen, more, torch.zeros(0, 3))
    torch.testing.assert_close(action, action[:, :1].expand(-1, 3))


def test_the_gradient_of_one_teacher_knows_nothing_of_the_others():
    stack = Teachers(3, 8)
    weights = stack.stacked(Teachers(1, 8).initial_weights(torch.Generator().manual_seed(0)))
    weights = {name: w.requires_grad_() for name, w in weights.items()}
    action, _ = stack.act(weights, torch.randn(22, 6), torch.randn(INPUT_SIZE - 22, 6), torch.zeros(0, 6))
    for g in torch.autograd.grad(action[:, 2:4].sum(), list(weights.values())):
        assert g[1].any() and not g[0].any() and not g[2].any()


def test_tame_is_the_identity_forward():
    x = torch.randn(5, N)
    assert torch.equal(tame(x, 0.9, 1.0), x)


def test_tame_shrinks_and_limits_each_column_and_keeps_its_direction():
    x = torch.zeros(3, 4, requires_grad=True)
    wanted = torch.tensor([[3.0, 300.0, float("nan"), 0.0], [4.0, 400.0, 1.0, 0.0], [0.0, 0.0, 0.0, 0.0]])
    (got,) = torch.autograd.grad(tame(x, 0.9, 10.0), x, wanted)
    torch.testing.assert_close(got[:, 0], 0.9 * wanted[:, 0])
    torch.testing.assert_close(got[:, 1], 0.9 * 10.0 * wanted[:, 1] / 500.0)
    assert torch.isfinite(got).all() and not got[:, 3].any()


def test_flight_at_the_reference_at_rest_costs_nothing_and_all_else_something():
    cost, n = Cost(), 6
    x, reference = torch.zeros(17, n), torch.zeros(6, n)
    x[9] = 1.0
    x[2, 1], x[3, 2], x[12, 3] = 0.1, 0.5, 1.0
    x[6, 4], x[9, 4] = 0.1, (1 - 0.01) ** 0.5
    raw = torch.full((4, n), 0.2)
    previous = raw.clone()
    previous[0, 5] = 0.0
    value = cost.of_step(x, reference, raw, previous, torch.full((n,), 10.0))
    assert value[0].abs() < 1e-6 and (value[1:] > 1e-3).all()


def test_the_cost_has_a_finite_gradient_where_everything_is_zero():
    x = torch.zeros(17, 1)
    x[9] = 1.0
    x.requires_grad_()
    raw = torch.zeros(4, 1, requires_grad=True)
    value = Cost().of_step(x, torch.zeros(6, 1), raw, torch.zeros(4, 1), torch.ones(1))
    assert all(torch.isfinite(g).all() for g in torch.autograd.grad(value.sum(), (x, raw)))

"""The network in NumPy equals torch's GRU cell and the authors' runtime; its memory moves at 100 Hz only."""

from __future__ import annotations

import importlib
import math

import numpy as np
import pytest
from random_policy import random_policy

from control_stack.errors import InputRejected, InvalidInput
from control_stack.foundation.pacing import PacedPolicy


def observations(count: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, 22)).astype(np.float32)


def run(policy, inputs: np.ndarray) -> np.ndarray:
    hidden, out = policy.initial_hidden(*inputs.shape[1:-1]), []
    for x in inputs:
        action, hidden = policy.step(x, hidden)
        out.append(action)
    return np.array(out)


@pytest.mark.parametrize("hidden", [8, 16, 64])
def test_numpy_equals_torch_gru_cell(hidden):
    torch = pytest.importorskip("torch")
    policy, inputs = random_policy(hidden=hidden), observations(300)
    w = {name: torch.from_numpy(tensor) for name, tensor in policy.weights.tensors.items()}
    cell = torch.nn.GRUCell(hidden, hidden)
    with torch.no_grad():
        for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
            getattr(cell, name).copy_(w[f"gru.{name}"])
        h, expected = w["gru.initial_hidden"], []
        for x in torch.from_numpy(inputs):
            h = cell(torch.relu(w["input.weight"] @ x + w["input.bias"])[None], h.reshape(1, -1))[0]
            expected.append((w["output.weight"] @ h + w["output.bias"]).numpy())
    np.testing.assert_allclose(run(policy, inputs), expected, rtol=0, atol=2e-6)


@pytest.mark.parametrize("hidden", [8, 16, 33])
def test_fast_path_equals_batched_step(hidden):
    policy, inputs = random_policy(hidden=hidden), observations(300)
    net = policy.stepper()
    fast = np.array([net.step(x) for x in inputs])
    np.testing.assert_allclose(fast, run(policy, inputs), rtol=0, atol=2e-6)
    net.reset()
    np.testing.assert_array_equal(fast[:5], [net.step(x) for x in inputs[:5]])


def test_batch_is_many_single_vehicles():
    policy, inputs = random_policy(), observations(60).reshape(20, 3, 22)
    together = run(policy, inputs)
    for i in range(3):
        np.testing.assert_allclose(together[:, i], run(policy, inputs[:, i]), rtol=0, atol=1e-6)


def test_authors_runtime_agrees_on_their_own_weights():
    peer = pytest.importorskip("foundation_policy").Raptor()
    from control_stack.foundation.runtime import GRUPolicy

    weights = importlib.import_module("benchmarks.policy_step").peer_weights(peer)
    assert weights.count == 2084
    inputs = observations(200)
    peer.reset()
    theirs = np.array([peer.evaluate_step(x[None])[0] for x in inputs])
    np.testing.assert_allclose(run(GRUPolicy(weights), inputs), theirs, rtol=0, atol=3e-6)


def test_extreme_inputs_saturate_without_overflow():
    policy = random_policy()
    with np.errstate(all="raise", under="ignore"):
        action, hidden = policy.step(np.full(22, 1e6), policy.initial_hidden())
    assert np.isfinite(action).all() and (np.abs(hidden) <= 1.0).all()


def test_peek_leaves_the_memory():
    net, inputs = random_policy().stepper(), observations(3)
    net.step(inputs[0])
    before = net.hidden
    seen = net.peek(inputs[1])
    np.testing.assert_array_equal(net.hidden, before)
    np.testing.assert_array_equal(net.step(inputs[1]), seen)
    assert not np.array_equal(net.hidden, before)


def features_at(t: float) -> tuple[float, ...]:
    return tuple(math.sin(3.0 * t + k) for k in range(18))


def hidden_after(rate_hz: float, seconds: float, jitter: float = 0.0) -> tuple[np.ndarray, int]:
    """Hidden state after flying features that hold for 10 ms, and how often it changed."""
    paced = PacedPolicy(random_policy(), rate_hz)
    random, changes = np.random.default_rng(0), 0
    for k in range(round(seconds * rate_hz)):
        before = paced._net.hidden
        t = k / rate_hz + jitter * random.uniform(-0.5, 0.5) / rate_hz
        paced(t, features_at(math.floor(k / rate_hz * 100.0 + 1e-6) / 100.0))
        changes += not np.array_equal(before, paced._net.hidden)
    return paced._net.hidden, changes


@pytest.mark.parametrize("rate_hz", [100.0, 200.0, 500.0, 1000.0])
def test_memory_advances_at_100_hz_whatever_the_call_rate(rate_hz):
    assert hidden_after(rate_hz, 2.0)[1] == 200


@pytest.mark.parametrize("rate_hz", [100.0, 400.0])
def test_jitter_of_calls_does_not_change_the_pace(rate_hz):
    assert abs(hidden_after(rate_hz, 2.0, jitter=0.8)[1] - 200) <= 1


def test_call_rate_does_not_change_what_is_remembered_when_the_loop_is_open():
    """With previous actions hidden from the network the memory is a function of the 100 Hz samples alone."""

    def blind(rate_hz):
        policy = random_policy()
        policy.weights["input.weight"][:, 18:] = 0.0
        paced = PacedPolicy(policy, rate_hz)
        for k in range(round(rate_hz)):
            paced(k / rate_hz, features_at(math.floor(k / rate_hz * 100.0 + 1e-6) / 100.0))
        return paced._net.hidden

    np.testing.assert_allclose(blind(500.0), blind(100.0), rtol=0, atol=1e-6)


@pytest.mark.parametrize("rate_hz", [50.0, 99.0, 150.0, 250.0, 0.0, math.nan, math.inf])
def test_rates_that_are_no_multiple_of_100_are_refused(rate_hz):
    with pytest.raises(InvalidInput, match="multiples of 100 Hz"):
        PacedPolicy(random_policy(), rate_hz)


def test_previous_action_is_the_raw_output():
    policy = random_policy()
    policy.weights["output.bias"][:] = (3.0, -2.0, 1.5, 0.1)  # beyond the range of the motors
    paced, hidden, previous = PacedPolicy(policy), policy.initial_hidden(), np.zeros(4)
    for k in range(50):
        expected, hidden = policy.step([*features_at(k / 100), *previous], hidden)
        previous = np.array(paced(k / 100, features_at(k / 100)))
        np.testing.assert_allclose(previous, expected, rtol=0, atol=1e-5)
    assert np.abs(previous).max() > 1.0


def test_between_steps_the_previous_action_is_the_mean_since_the_last_step():
    policy = random_policy()
    paced, net = PacedPolicy(policy, 300.0), policy.stepper()
    first = np.array(paced(0.0, features_at(0.0)))
    net.step([*features_at(0.0), *np.zeros(4)])
    second = np.array(paced(1 / 300, features_at(0.1)))
    np.testing.assert_allclose(second, net.peek([*features_at(0.1), *first]), atol=1e-6)
    third = np.array(paced(2 / 300, features_at(0.2)))
    np.testing.assert_allclose(third, net.peek([*features_at(0.2), *(first + second) / 2]), atol=1e-6)
    fourth = np.array(paced(3 / 300, features_at(0.3)))
    np.testing.assert_allclose(fourth, net.step([*features_at(0.3), *(first + second + third) / 3]), atol=1e-6)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_nan_holds_the_last_action_once_and_then_raises(bad):
    paced = PacedPolicy(random_policy())
    good, broken = features_at(0.0), (*features_at(0.0)[:-1], bad)
    last = paced(0.00, good)
    hidden = paced._net.hidden
    assert paced(0.01, broken) == last
    np.testing.assert_array_equal(paced._net.hidden, hidden)
    with pytest.raises(InputRejected, match="nan"):
        paced(0.02, broken)
    last = paced(0.03, good)  # good again: the next single one is held again
    assert paced(0.04, broken) == last


def test_nan_before_any_action_raises_at_once():
    with pytest.raises(InputRejected, match="nan"):
        PacedPolicy(random_policy())(0.0, (math.nan,) * 18)


def test_reset_and_time_going_back_start_afresh():
    paced = PacedPolicy(random_policy())
    fresh = [paced(k / 100, features_at(k / 100)) for k in range(20)]
    paced.reset()
    assert [paced(5.0 + k / 100, features_at(k / 100)) for k in range(20)] == fresh
    assert [paced(k / 100, features_at(k / 100)) for k in range(20)] == fresh  # the clock went back

"""Nets in training: torch = NumPy written out, symmetry of graph nets, merging, stand-ins, and what gates promise."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from contact_toys import disc_data, objects_data, objects_spec, pieces_data

from control_stack.errors import InvalidInput
from control_stack.learning.data import Dataset, dataset
from control_stack.learning.gated_chain import GatedChain, scaling_of
from control_stack.learning.wiring import graph_net, objects_in, plain_net
from control_stack.protocols import DynamicsSpec

torch = pytest.importorskip("torch")

from control_stack.learning.sparsify.gates import DrawnGates, GateSettings, kept_within  # noqa: E402
from control_stack.learning.sparsify.linear import affine_fit, harms, merged, relieved, sums  # noqa: E402
from control_stack.learning.sparsify.net import IDENTITY, RELU, ZERO, Net, fresh, from_chain  # noqa: E402
from control_stack.learning.sparsify.windows import Windows, closeness  # noqa: E402


def a_net(kind: str, seed: int = 0) -> tuple[Net, Dataset]:
    """Random weights and gates, none zero."""
    data = objects_data() if kind == "graph" else disc_data(30)
    wiring = graph_net(data.spec, "disc", 2, 2) if kind == "graph" else plain_net(2, 2, 3)
    random = torch.Generator().manual_seed(seed)
    net = fresh(data.spec, wiring, scaling_of(data, wiring), [6] * (len(wiring.layers) - 1), random)
    for b in net.biases:
        b += 0.3 * torch.randn(b.shape, generator=random)
    return net, data


def scaled(net: Net, x, u):
    xi = (np.concatenate([x, u], -1) - net.scaling.center) / net.scaling.scale
    return torch.from_numpy(xi.astype(np.float32))[None]


def predicted(net: Net, x, u):
    """x+ by torch, float32."""
    with torch.no_grad():
        f = net.change(net.fixed_gates(), scaled(net, x, u))[0].numpy()
    return x + net.scaling.change_center + net.scaling.change_scale * f


def transitions(data: Dataset):
    x, u = data.windows(1)
    return x[:, 0], u[:, 0]


@pytest.mark.parametrize("kind", ["plain", "graph"])
def test_written_out_and_collapsed_it_is_the_net_that_was_trained(kind, tmp_path):
    net, data = a_net(kind)
    x, u = transitions(data)
    model = net.chain().unrolled()
    np.testing.assert_allclose(model.step(x, u), predicted(net, x, u), atol=2e-5)
    np.testing.assert_allclose(model.collapsed().step(x, u), model.step(x, u), atol=1e-12)
    assert model.collapsed().relus == net.count(RELU) == net.chain().count("relu")
    net.chain().save(tmp_path / "c.safetensors", {})
    again = GatedChain.load(tmp_path / "c.safetensors")
    np.testing.assert_array_equal(again.unrolled().step(x, u), model.step(x, u))
    np.testing.assert_array_equal(predicted(from_chain(again), x, u), predicted(net, x, u))


def test_exchanging_objects_exchanges_their_motion():
    net, data = a_net("graph")
    x, u = transitions(data)
    model = net.chain().unrolled().collapsed()
    order = [0, 1, 6, 7, 2, 3, 4, 5]  # of the states: discs 2, 0, 1
    np.testing.assert_allclose(model.step(x[:, order], u), model.step(x, u)[:, order], atol=1e-12)
    assert np.abs(model.step(x, u)[:, 2:4] - model.step(x[:, order], u)[:, 2:4]).max() > 1e-3


def test_a_graph_net_runs_with_another_number_of_objects():
    net, _ = a_net("graph")
    chain = net.chain()
    five = chain.unrolled(objects_spec(5)).collapsed()
    assert five.nx == 12
    per_pair, per_object = (sum(int((chain.gates[k] == RELU).sum()) for k in part) for part in ((0, 1), (2, 3)))
    assert five.relus == 20 * per_pair + 5 * per_object
    assert chain.unrolled(objects_spec(3)).relus == 6 * per_pair + 3 * per_object == chain.count("relu")
    random = np.random.default_rng(1)
    x, u = random.standard_normal(12), random.standard_normal(2)
    order = [0, 1, *(2 + 2 * k + a for k in (4, 2, 0, 1, 3) for a in (0, 1))]
    np.testing.assert_allclose(five.step(x[order], u), five.step(x, u)[order], atol=1e-12)
    with pytest.raises(InvalidInput):
        chain.unrolled(replace(objects_spec(3), inputs=("vx [m/s]",)))


def test_objects_are_found_by_name_or_refused():
    np.testing.assert_array_equal(objects_in(objects_spec(3), "disc"), [[2, 3], [4, 5], [6, 7]])
    with pytest.raises(InvalidInput, match="no two objects 'box'"):
        objects_in(objects_spec(3), "box")
    odd = replace(objects_spec(2), state=("disc_0.x [m]", "disc_0.y [m]", "disc_1.x [m]"))
    with pytest.raises(InvalidInput, match="different components"):
        objects_in(odd, "disc")


@pytest.mark.parametrize("kind", ["plain", "graph"])
def test_merging_linear_units_keeps_the_function_and_reaches_the_rank(kind):
    net, data = a_net(kind)
    x, u = transitions(data)
    linear = [torch.where(torch.arange(len(g)) % 3 == 0, g, IDENTITY) for g in net.gates]
    net.gates = linear
    thin = merged(net)
    np.testing.assert_allclose(predicted(thin, x, u), predicted(net, x, u), atol=5e-5)
    assert thin.count(IDENTITY) < net.count(IDENTITY) and thin.count(RELU) == net.count(RELU)
    assert (merged(thin).gates[0] == IDENTITY).sum() == (thin.gates[0] == IDENTITY).sum()


def test_the_stand_in_of_a_relu_is_the_least_squares_line():
    z = torch.randn(1, 500, 4, generator=torch.Generator().manual_seed(0)) * torch.tensor([1.0, 3.0, 0.2, 1.0])
    z[..., 3] = -1.5  # never active, and constant
    slope, offset = affine_fit(z)
    for i in range(3):
        line = np.polyfit(z[0, :, i].double(), torch.relu(z[0, :, i]).double(), 1)
        np.testing.assert_allclose([slope[0, i], offset[0, i]], line, atol=1e-4)
    assert slope[0, 3] == offset[0, 3] == 0.0


@pytest.mark.parametrize("kind", ["plain", "graph"])
def test_harm_is_what_replacing_one_relu_does(kind):
    net, data = a_net(kind)
    x, u = transitions(data)
    xi = scaled(net, x, u)
    true = torch.randn(1, len(x), len(data.spec.state), generator=torch.Generator().manual_seed(3))
    found = harms(net, xi, true)

    def error(of: Net) -> float:
        with torch.no_grad():
            return float((of.change(of.fixed_gates(), xi) - true).square().mean())

    for k in range(len(net.gates)):
        chosen = [g.clone() for g in net.gates]
        chosen[k][2] = IDENTITY
        assert float(found[k][2]) == pytest.approx(error(relieved(net, chosen, xi)) - error(net), abs=2e-5)
        assert all(float(h) == 0.0 for h, g in zip(found[k], net.gates[k], strict=True) if g == IDENTITY)


def test_a_dropped_relu_leaves_its_mean():
    net, data = a_net("plain")
    xi = scaled(net, *transitions(data))
    chosen = [g.clone() for g in net.gates]
    chosen[-1][1] = ZERO
    thin = relieved(net, chosen, xi)
    with torch.no_grad():
        change = thin.change(thin.fixed_gates(), xi) - net.change(net.fixed_gates(), xi)
    height = torch.relu(sums(net, xi)[-1])[0, :, 1]
    expected = -(height - height.mean())[:, None] * net.weights[-1][0, 1]
    torch.testing.assert_close(change[0], expected, atol=2e-5, rtol=0.0)


def test_gates_are_drawn_as_often_as_they_are_likely():
    net, data = a_net("plain")
    settings = GateSettings(draws=20_000)
    gates = DrawnGates(net, settings, 4, 1, torch.Generator().manual_seed(0))
    gates.logits[0][0] = torch.log(torch.tensor([0.2, 0.7, 0.1]))
    gates.draw(0)  # the only update: the target is the budget
    assert gates.expected() == pytest.approx(4.0, abs=1e-3)
    for drawn, chances, kinds in zip(gates._drawn, gates.probabilities(), net.gates, strict=True):
        torch.testing.assert_close(drawn.max(-1).values, torch.ones(drawn.shape[:-1]))
        seen = drawn.detach().mean(0)[kinds == RELU]
        torch.testing.assert_close(seen, chances[kinds == RELU], atol=0.015, rtol=0.0)
        assert (drawn[:, kinds == IDENTITY, IDENTITY] == 1.0).all()


def test_gates_pass_relus_their_stand_ins_and_means():
    net, _ = a_net("plain")
    gates = DrawnGates(net, GateSettings(draws=1), 3, 1, torch.Generator().manual_seed(0))
    gates.draw(0)
    choice = torch.tensor([RELU, IDENTITY, ZERO] * 2 + [IDENTITY] * (len(net.gates[0]) - 6))
    gates._drawn[0] = torch.eye(3)[choice][None]
    z = torch.randn(1, 40, len(choice), generator=torch.Generator().manual_seed(1))
    out, (slope, offset) = gates(0, z), affine_fit(z)
    torch.testing.assert_close(out[..., 0], torch.relu(z[..., 0]))
    torch.testing.assert_close(out[..., 1], slope[:, 1] * z[..., 1] + offset[:, 1])
    torch.testing.assert_close(out[..., 2], torch.relu(z[..., 2]).mean().expand(1, 40))
    torch.testing.assert_close(out[..., 7], z[..., 7])


def test_a_budget_counts_copies_and_is_never_exceeded():
    scores = [torch.tensor([0.9, 0.8]), torch.tensor([0.7, 0.0, 0.6])]
    zeros = [torch.full((2,), ZERO), torch.full((3,), ZERO)]
    gates = kept_within(zeros, scores, [6, 3], 10)
    assert gates[0].tolist() == [RELU, ZERO] and gates[1].tolist() == [RELU, ZERO, ZERO]
    assert [g.tolist() for g in kept_within(zeros, scores, [6, 3], 2)] == [[ZERO] * 2, [ZERO] * 3]


def test_windows_stay_within_episodes_and_follow_their_weights():
    episodes = [(np.arange(n + 1.0)[:, None] + 100 * n, np.arange(float(n))[:, None] + 100 * n) for n in (3, 7)]
    data = dataset(episodes, DynamicsSpec(("x [m]",), ("u [m]",), (), np.zeros(0), 0.1))
    scaling = replace(scaling_of(data, plain_net(1, 1, 1)), center=np.zeros(2), scale=np.ones(2))
    x, u = Windows(data, scaling).draw(500, 3, torch.Generator().manual_seed(0))
    assert (x[:, 1:] - x[:, :-1] == 1.0).all() and (u[..., 0] == x[:, :-1, 0]).all()
    assert set(x[:, 0, 0].tolist()) == {300.0, 700.0, 701.0, 702.0, 703.0, 704.0}
    odds = np.zeros((2, 7))
    odds[1, 2], odds[0, 0] = 3.0, 1.0
    x, _ = Windows(data, scaling, odds).draw(4000, 3, torch.Generator().manual_seed(0))
    assert set(x[:, 0, 0].tolist()) == {300.0, 702.0}
    assert float((x[:, 0, 0] == 702.0).float().mean()) == pytest.approx(0.75, abs=0.03)


def test_closeness_is_one_on_the_trajectories_and_falls_away_from_them():
    data = pieces_data(20)
    scaling = scaling_of(data, plain_net(2, 1, 1))
    weights = closeness(data, data.take([0]), scaling)
    np.testing.assert_allclose(weights[0], 1.0)
    assert weights.min() >= 0.1 and weights[1:].mean() < 0.95
    with pytest.raises(InvalidInput, match="other states"):
        closeness(data, disc_data(2), scaling)

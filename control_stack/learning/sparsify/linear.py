"""Taking ReLUs out of a net with little harm: the best affine stand-in for each, and linear units merged by rank.

    relu(z) ~ a z + b,  a = cov(relu(z), z) / var(z),  b = mean(relu(z)) - a mean(z)          over the data

Neither changes what a planner pays: linear units are folded away before it plans.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from control_stack.learning.sparsify.net import IDENTITY, RELU, ZERO, Net

_VARIANTS = 32  # nets that are evaluated at a time
_FLAT = 1e-8  # variance of a unit's sum below which it is a constant


def affine_fit(z: Tensor) -> tuple[Tensor, Tensor]:
    """a and b (..., units) of the stand-ins for ReLUs with sums z (..., rows, units)."""
    active = torch.relu(z)
    mean, height = z.mean(-2), active.mean(-2)
    variance = z.var(-2, correction=0)
    slope = ((z * active).mean(-2) - mean * height) / variance.clamp_min(_FLAT)
    slope = torch.where(variance > _FLAT, slope, 0.0)
    return slope, height - slope * mean


def sums(net: Net, xi: Tensor) -> list[Tensor]:
    """(S, rows, units) of each hidden layer for scaled states and inputs (S, B, nx + nu)."""
    gating, seen = net.fixed_gates(), []

    def watch(k: int, z: Tensor) -> Tensor:
        seen.append(z)
        return gating(k, z)

    with torch.no_grad():
        net.change(watch, xi)
    return seen


def relieved(net: Net, gates: Sequence[Tensor], xi: Tensor) -> Net:
    """The net with new gates, without its zeros, linear units merged; what stops to be a ReLU has a stand-in.

    Args:
        net: S = 1.
        gates: Of each hidden layer. A ReLU that becomes an identity passes its best affine fit, one that becomes
            zero its mean.
        xi: (1, B, nx + nu) scaled states and inputs that stand-ins are fitted to, layer by layer.
    """
    net = net.thinned(net.gates)  # a copy
    for k, chosen in enumerate(gates):
        slope, offset = (fit[0] for fit in affine_fit(sums(net, xi)[k]))
        mean = torch.relu(sums(net, xi)[k]).mean(-2)[0]
        was = net.gates[k] == RELU
        linear, dropped = was & (chosen == IDENTITY), was & (chosen == ZERO)
        reads, f, total = _reader(net, k)
        rows = reads[0, f:]
        constant = torch.where(linear, offset, 0.0) + torch.where(dropped, mean, 0.0)
        net.biases[k + 1] += total * (constant @ rows)
        rows *= torch.where(linear, slope, 1.0)[:, None] * (~dropped)[:, None]
        net.gates[k] = torch.where(dropped, IDENTITY, chosen)  # it has no say any more, and is dropped below
    return merged(net.thinned(gates))


def merged(net: Net) -> Net:
    """The same function with as few linear units as the rank of what they pass on; S = 1."""
    net = net.thinned(net.gates)
    for k in range(len(net.gates)):
        linear, relu = (torch.nonzero(net.gates[k] == gate)[:, 0] for gate in (IDENTITY, RELU))
        if not len(linear):
            continue
        reads, f, total = _reader(net, k)
        into, out = net.weights[k][0][:, linear].double(), reads[0, f + linear].double()
        u, size, v = torch.linalg.svd(into @ out, full_matrices=False)
        rank = min(len(linear), int((size > 1e-7 * size[0].clamp_min(1e-30)).sum()))
        root = size[:rank].sqrt()
        constant = net.biases[k][0, 0, linear].double() @ out
        net.biases[k + 1] += total * constant.float()
        net.weights[k] = torch.cat([net.weights[k][:, :, relu], (u[:, :rank] * root).float()[None]], -1)
        net.biases[k] = torch.cat([net.biases[k][:, :, relu], torch.zeros(1, 1, rank)], -1)
        rows = [reads[:, :f], reads[:, f + relu], (root[:, None] * v[:rank]).float()[None]]
        net.weights[k + 1] = torch.cat(rows, 1)
        net.gates[k] = torch.tensor([RELU] * len(relu) + [IDENTITY] * rank)
    return net


def _reader(net: Net, k: int) -> tuple[Tensor, int, float]:
    """Weights of the layer that reads hidden layer k, its features, and how many copies of k it sums."""
    layer = net.wiring.layers[k + 1]
    return net.weights[k + 1], layer.feature_count, 1.0 if layer.gather is None else float(layer.gather[0].sum())


def harms(net: Net, xi: Tensor, change: Tensor) -> list[Tensor]:
    """(units,) of each hidden layer: how much the squared error grows if one ReLU alone has its stand-in.

    Args:
        net: S = 1.
        xi: (1, B, nx + nu) scaled states and inputs. change: (1, B, nx) scaled changes that are true for them.
    """
    gating, out = net.fixed_gates(), []
    with torch.no_grad():
        error = float((net.change(gating, xi) - change).square().mean())
        for k, z in enumerate(sums(net, xi)):
            slope, offset = affine_fit(z)
            left = slope[:, None] * z + offset[:, None] - torch.relu(z)
            reads, f, _ = _reader(net, k)
            gather = net.constants.layers[k + 1][2]
            if gather is not None:
                left = (gather @ left.view(xi.shape[1], gather.shape[1], -1)).reshape(1, -1, left.shape[-1])
            base = net.sums(k + 1, gating(k, z), xi)
            units = torch.nonzero(net.gates[k] == RELU)[:, 0]
            harm = torch.zeros(len(net.gates[k]))
            for part in units.split(_VARIANTS):
                varied = base + left[0, :, part].T[:, :, None] * reads[0, f + part, None, :]
                predicted = _many(net, len(part)).onward(gating, xi.expand(len(part), -1, -1), k + 1, varied)
                harm[part] = (predicted - change).square().mean((1, 2)) - error
            out.append(harm)
    return out


def _many(net: Net, stack: int) -> Net:
    """The net as S equal ones, without copies."""
    weights, biases = ([t.expand(stack, -1, -1) for t in part] for part in (net.weights, net.biases))
    return Net(net.spec, net.wiring, net.scaling, weights, biases, net.gates)

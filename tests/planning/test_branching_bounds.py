"""A bound called proven lies above no cost that is ever seen, whatever multipliers it was made with."""

from __future__ import annotations

import importlib
import sys
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mip_toys import case, net, walled

torch = pytest.importorskip("torch")

from control_stack.errors import MissingDependency  # noqa: E402
from controllers.planning.branching_bounds import Bounder  # noqa: E402
from controllers.planning.branching_boxes import Boxes  # noqa: E402
from controllers.planning.branching_form import build  # noqa: E402
from controllers.planning.problem import STAGE_COSTS, TOLERANCE  # noqa: E402

POINTS = 400
RATE = torch.full((1,), 0.15, dtype=torch.float64)
seeds = st.integers(0, 10_000)


def costs(problem, x0, goal, before, points):
    """Cost of the float64 rollouts, inf where one breaks a constraint."""
    plans = points.reshape(len(points), problem.horizon, problem.nu)
    states = problem.model.rollout(x0, plans)
    kept = problem.violation(states, plans) <= TOLERANCE
    return np.where(kept, problem.cost(states, plans, goal, before), np.inf)


def drawn(seed: int, stage: str, scale: float, horizon: int = 3, walls: bool = False):
    problem, x0, goal, before = (walled if walls else case)(seed, horizon=horizon, relus=5)
    model = replace(net(seed, 5, scale), spec=problem.spec)
    return replace(problem, model=model, stage=stage), x0, goal, before


def box(bounder: Bounder, rng: np.random.Generator) -> tuple[Boxes, np.ndarray]:
    """A random part of the inputs, random multipliers, and points of it: many at corners, where extremes lie."""
    root = bounder.root()
    sides = np.sort(rng.uniform(bounder.form.lower, bounder.form.upper, (2, len(bounder.form.lower))), axis=0)
    share = rng.random((POINTS, len(bounder.form.lower)))
    share[POINTS // 2 :] = np.round(share[POINTS // 2 :])
    points = np.clip(sides[0] + share * (sides[1] - sides[0]), sides[0], sides[1])

    def random(like) -> torch.Tensor:
        return torch.as_tensor(rng.random(like.shape))

    part = replace(root, lower=torch.as_tensor(sides[:1]), upper=torch.as_tensor(sides[1:]))
    pi = random(root.pi) * torch.where(bounder.square, 3.0, bounder.weight)
    pi = torch.where(bounder.square, pi, bounder.supporting(pi))
    nu = random(root.nu) * root.enforced
    return replace(part, alpha=random(root.alpha), pi=pi, nu=nu), points


@settings(max_examples=60, deadline=None)
@given(seed=seeds, stage=st.sampled_from(STAGE_COSTS), scale=st.sampled_from((0.3, 1.0, 3.0)), walls=st.booleans())
def test_a_bound_is_below_every_sampled_cost_of_its_box(seed, stage, scale, walls):
    problem, x0, goal, before = drawn(seed, stage, scale, walls=walls)
    bounder = Bounder(build(problem, x0, goal, before))
    part, points = box(bounder, np.random.default_rng(seed))
    least = costs(problem, x0, goal, before, points).min()
    assert float(bounder.dual(part).value) <= least
    part = bounder.enclose(part)
    assert float(bounder.dual(part).value) <= least
    climbed = bounder.ascend(part, 20, RATE)
    assert float(climbed.bound) <= least


@settings(max_examples=40, deadline=None)
@given(seed=seeds, stage=st.sampled_from(STAGE_COSTS), scale=st.sampled_from((0.3, 1.0, 3.0)))
def test_enclosures_hold_every_argument_and_after_tightening_those_of_all_cheap_plans(seed, stage, scale):
    problem, x0, goal, before = drawn(seed, stage, scale)
    bounder = Bounder(build(problem, x0, goal, before))
    part, points = box(bounder, np.random.default_rng(seed))
    part = bounder.enclose(part)
    z = bounder.forward(torch.as_tensor(points))[0]
    assert bool(((part.lo <= z) & (z <= part.hi)).all())
    cost = costs(problem, x0, goal, before, points)
    cut = float(np.quantile(cost, 0.3))
    part = bounder.ascend(part, 20, RATE)
    units = torch.arange(z.shape[1])[None]
    tight = bounder.tighten(part, units, cut, 15, 0.15)
    cheap = z[torch.as_tensor(cost <= cut)]
    assert bool(((tight.lo <= cheap) & (cheap <= tight.hi)).all())
    assert bool((tight.lo >= part.lo).all() and (tight.hi <= part.hi).all())


@settings(max_examples=30, deadline=None)
@given(seed=seeds, stage=st.sampled_from(STAGE_COSTS))
def test_the_parts_of_a_split_by_sign_bound_their_own_points_and_no_point_is_lost(seed, stage):
    problem, x0, goal, before = drawn(seed, stage, 1.0)
    bounder = Bounder(build(problem, x0, goal, before))
    part, points = box(bounder, np.random.default_rng(seed))
    part = bounder.enclose(part)
    z = bounder.forward(torch.as_tensor(points))[0]
    cost = costs(problem, x0, goal, before, points)
    unit = int((part.hi - part.lo)[0].argmax())
    covered = np.zeros(len(points), dtype=bool)
    for side in (-1, 1):
        lo, hi = part.lo.clone(), part.hi.clone()
        (hi if side < 0 else lo)[:, unit] = 0.0
        half = bounder.ascend(bounder.enclose(replace(part, lo=lo, hi=hi)), 20, RATE)
        mine = (side * z[:, unit] >= 0.0).numpy()
        covered |= mine
        assert float(half.bound) <= cost[mine].min(initial=np.inf)
    assert covered.all()


@pytest.mark.parametrize("stage", STAGE_COSTS)
def test_at_a_single_point_the_bound_is_its_cost(stage):
    problem, x0, goal, before = drawn(3, stage, 1.0)
    bounder = Bounder(build(problem, x0, goal, before))
    point = np.random.default_rng(0).uniform(bounder.form.lower, bounder.form.upper)[None]
    side = torch.as_tensor(point)
    part = bounder.enclose(replace(bounder.root(), lower=side, upper=side))
    bound, cost = float(bounder.ascend(part, 300, RATE).bound), costs(problem, x0, goal, before, point)[0]
    assert cost - 1e-3 * (1.0 + cost) <= bound <= cost


def test_the_form_computes_what_the_rollout_does():
    problem, x0, goal, before = walled(5, horizon=3)
    bounder = Bounder(build(problem, x0, goal, before))
    points = np.random.default_rng(1).uniform(bounder.form.lower, bounder.form.upper, (50, 6))
    plans = points.reshape(50, 3, 2)
    states = problem.model.rollout(x0, plans)
    _, s, v = bounder.forward(torch.as_tensor(points))
    kind = bounder.form.kind
    total = (s.clamp(min=0.0) * bounder.weight)[:, torch.as_tensor(kind == 0)].sum(-1).numpy()
    for t in range(problem.horizon):
        rows = (kind == 1) & (bounder.form.step == t)
        if rows.any():
            total = total + s[:, rows].clamp(min=0.0).max(-1).values.numpy() * bounder.form.weight[rows][0]
    assert total == pytest.approx(problem.cost(states, plans, goal, before), abs=1e-12)
    broken = v.clone()
    for group in range(bounder.groups):
        rows = bounder.face == group
        broken[:, rows] = v[:, rows].min(-1, keepdim=True).values
    worst = broken.max(-1).values.clamp(min=0.0).numpy()
    assert worst == pytest.approx(np.maximum(problem.violation(states, plans) - TOLERANCE, 0.0), abs=1e-12)


def test_without_torch_the_extra_is_named(monkeypatch):
    for name in [name for name in sys.modules if name.startswith("controllers.planning.branching")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingDependency, match="learn"):
        importlib.import_module("controllers.planning.branching")

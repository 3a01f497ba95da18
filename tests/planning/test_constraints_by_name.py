"""Linear constraints by the names of states and inputs: the same as by matrices, and what cannot be meant is named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sampling_toys import goal_at, point

from control_stack.errors import InvalidInput, UnknownName
from controllers.planning.constraints import read_constraints
from controllers.planning.problem import LinearConstraint, Problem

SPEC = point().spec
X0, GOAL = np.zeros(2), goal_at(0.55, -0.35)


def written(folder: Path, text: str) -> Path:
    path = folder / "constraints.yaml"
    path.write_text(text)
    return path


def test_names_and_matrices_say_the_same():
    named = LinearConstraint.of(SPEC, "rail", {"x1 [m]": 2.0, "u0 [m]": -1.0}, lower=-0.5)
    rng = np.random.default_rng(0)
    inputs = rng.uniform(-0.2, 0.2, (50, 3, 2))
    states = point().rollout(X0, inputs)
    byhand = LinearConstraint(
        "rail", np.array([[0.0, 2.0]]), np.array([-0.5]), np.array([np.inf]), np.array([[-1.0, 0.0]])
    )
    of = [Problem(point(), 3, constraints=(c,)).violations(states, inputs)["rail"] for c in (named, byhand)]
    assert (of[0] == of[1]).all() and (of[0] > 0.0).any() and (of[0] < 0.0).any()
    assert LinearConstraint.of(SPEC, "wall", {"x0 [m]": 1.0}, upper=0.3).inputs is None


def test_a_planner_keeps_what_a_file_says(tmp_path):
    pytest.importorskip("highspy")
    from controllers.planning.mip import MipPlanner

    path = written(
        tmp_path, 'wall:\n  terms: {"x0 [m]": 1}\n  upper: 0.3\nslow:\n  terms: {"u1 [m]": 1.0}\n  lower: -0.1\n'
    )
    constraints = read_constraints(path, SPEC)
    assert [c.name for c in constraints] == ["wall", "slow"]
    plan = MipPlanner(Problem(point(), 4, constraints=constraints), samples=0).plan(X0, GOAL)
    assert plan.status == "optimal" and plan.states[:, 0].max() <= 0.3 + 1e-6 and plan.inputs[:, 1].min() >= -0.1 - 1e-6
    assert plan.states[-1, 0] == pytest.approx(0.3) and plan.states[1, 1] == pytest.approx(-0.1)


def test_an_unknown_state_is_named_with_those_that_there_are():
    with pytest.raises(UnknownName, match=r"state or input 'x2 \[m\]'; expected one of: x0 \[m\], .*did you mean"):
        LinearConstraint.of(SPEC, "wall", {"x2 [m]": 1.0}, upper=0.3)


@pytest.mark.parametrize("terms", [{}, {"x0 [m]": np.nan}, {"x0 [m]": 0.0}])
def test_terms_that_say_nothing_are_refused(terms):
    with pytest.raises(InvalidInput, match="'wall': needs terms"):
        LinearConstraint.of(SPEC, "wall", terms, upper=0.3)
    with pytest.raises(InvalidInput, match="lower <= upper"):
        LinearConstraint.of(SPEC, "wall", {"x0 [m]": 1.0}, 1.0, 0.0)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("- wall", "expected constraints by name"),
        ("wall: 3", "terms are factors"),
        ("wall: {terms: {}, most: 1}", "no 'most'"),
        ('wall: {terms: {"x0 [m]": yes}}', "x0 .m. must be a number"),
        ('wall: {terms: {"x0 [m]": 1}, upper: far}', "upper must be a number, got 'far'"),
        ("wall: {", "not valid YAML"),
    ],
)
def test_a_file_of_another_form_is_refused(tmp_path, text, said):
    with pytest.raises(InvalidInput, match=said):
        read_constraints(written(tmp_path, text), SPEC)

"""The solver on a pendulum: real-time iteration, SQP and ipopt agree; constraints, fallback, warm start, parameters."""

from __future__ import annotations

import casadi as ca
import numpy as np
import pytest
from nmpc_toys import Pendulum, pendulum_problem
from scipy.optimize import minimize

from control_stack.errors import InputRejected, InvalidInput, UnknownName
from controllers.nmpc.problem import Constraint, keep_out, state_limits
from controllers.nmpc.solver import Nmpc, Settings

SPEC = Pendulum().spec
UPRIGHT = np.zeros((21, 2))
HANGING = np.array([2.0, 0.0])
MIXED = Constraint("mixed", lambda x, u, p, y: u + x[1], np.array([-14.0]), np.array([np.inf]), inputs=True)


def safe(x, p):
    return np.array([-99.0])  # beyond the limits: it must come back clipped


def make(settings=None, model=None, **changes) -> Nmpc:
    return Nmpc(pendulum_problem(model, **changes), safe, settings)


CASES = {
    "plain": {},
    "blocks": {"blocks": (1, 1, 2, 4, 4, 8)},
    "soft limit": {"constraints": [state_limits("rate", SPEC, {"rate": (-3.0, 3.0)}, soft=50.0)]},
    "shared slack": {"constraints": [state_limits("rate", SPEC, {"rate": (-3.0, 3.0)}, soft=50.0, shared=True)]},
    "mixed": {"constraints": [MIXED]},
}


@pytest.mark.parametrize("case", CASES)
def test_real_time_iterations_converge_to_sqp_and_ipopt(case):
    rti = make(**CASES[case])
    for _ in range(40):  # at one state, without time passing
        a = rti.solve(HANGING, UPRIGHT, elapsed=0.0)
    b, c = (
        make(Settings(method, tolerance=1e-9), **CASES[case]).solve(HANGING, UPRIGHT) for method in ("sqp", "ipopt")
    )
    assert (a.status, b.status, c.status) == ("ok", "ok", "ok")
    for one in (a, b):
        np.testing.assert_allclose(one.inputs, c.inputs, atol=1e-3)
        assert one.cost == pytest.approx(c.cost, rel=1e-6)
        assert one.violation == pytest.approx(c.violation, abs=1e-4)
        after = [Pendulum().step(x, u) for x, u in zip(one.states[:-1], one.inputs, strict=True)]
        np.testing.assert_allclose(one.states[1:], after, atol=1e-6)


def test_rates_of_inputs_are_kept_from_the_input_in_force_on():
    changes = {"input_rate": np.array([40.0]), "input_change": np.array([0.05])}
    before, room = np.array([5.0]), 40.0 * np.full(20, SPEC.dt)
    room[0] = 40.0 * 0.01  # less time has passed since the input in force was given
    answers = [
        make(Settings(method), **changes).solve(HANGING, UPRIGHT, elapsed=0.01, before=before)
        for method in ("rti", "sqp", "ipopt")
    ]
    for answer in answers:
        assert (np.abs(np.diff(answer.inputs[:, 0], prepend=5.0)) <= room + 1e-6).all()
    np.testing.assert_allclose(answers[1].inputs, answers[2].inputs, atol=1e-3)
    assert answers[1].cost == pytest.approx(answers[2].cost, rel=1e-5)


def test_the_answer_costs_no_more_than_a_general_minimiser_finds():
    n = make(Settings("sqp"))
    found = n.solve(HANGING, UPRIGHT)

    def cost(u):
        x, total = HANGING, 0.0
        weights = np.array([3.0, 0.5])
        for value in u:
            total += 0.5 * np.square(weights * x).sum() + 0.5 * (0.1 * value) ** 2
            x = Pendulum().step(x, [value])
        return total + 0.5 * np.square(5.0 * weights * x).sum()

    best = minimize(cost, np.zeros(20), bounds=[(-15.0, 15.0)] * 20, method="L-BFGS-B")
    assert cost(found.inputs[:, 0]) <= best.fun * (1.0 + 1e-6)
    assert found.cost == pytest.approx(cost(found.inputs[:, 0]), rel=1e-8)


def test_constraints_hold_in_the_plan_and_a_soft_one_says_by_how_much_it_does_not():
    hard = make(Settings("sqp"), constraints=[state_limits("rate", SPEC, {"rate": (-3.0, 3.0)})])
    plan = hard.solve(HANGING, UPRIGHT)
    assert plan.status == "ok" and np.abs(plan.states[1:, 1]).max() <= 3.0 + 1e-6
    assert np.abs(make(Settings("sqp")).solve(HANGING, UPRIGHT).states[:, 1]).max() > 3.2
    soft = make(Settings("sqp"), constraints=[state_limits("rate", SPEC, {"rate": (-3.0, 3.0)}, soft=1.0)])
    plan = soft.solve(HANGING, UPRIGHT)
    assert plan.violation == pytest.approx(np.abs(plan.states[1:, 1]).max() - 3.0, abs=1e-6) and plan.violation > 0.0


def test_an_obstacle_that_moves_with_the_reference_is_kept_out_of():
    def tip(x, u, p, y):
        return ca.vertcat(ca.sin(x[0]), ca.cos(x[0]))

    ball = keep_out("ball", tip, lambda x, u, p, y: ca.vertcat(ca.sin(y[2]), ca.cos(y[2])), 0.3, soft=1e4)
    weights = np.array([3.0, 0.5])
    n = make(
        Settings("sqp", iterations=100),
        reference_size=3,
        residual=lambda x, u, p, y: ca.vertcat(weights * (x - y[0:2]), 0.1 * u),
        terminal=lambda x, p, y: 5.0 * weights * (x - y[0:2]),
        constraints=[ball],
    )
    for at in (0.9, 0.5):
        n.reset()
        reference = np.column_stack([UPRIGHT, np.full(21, at)])
        plan = n.solve(np.array([1.4, 0.0]), reference)
        gap = np.hypot(
            *(np.array([np.sin(plan.states[:, 0]), np.cos(plan.states[:, 0])]).T - [np.sin(at), np.cos(at)]).T
        )
        assert gap.min() >= 0.3 - 1e-4
        assert plan.states[-1, 0] > at  # it stops in front of the ball, which blocks the way up


def test_the_pendulum_is_swung_up_and_held_in_closed_loop():
    n, x, model = make(), HANGING, Pendulum()
    for _ in range(80):
        x = model.step(x, n.solve(x, UPRIGHT).inputs[0])
    np.testing.assert_allclose(x, 0.0, atol=1e-3)
    assert set(n.counts) == {"ok"}


def test_parameters_change_the_plan_and_build_nothing():
    model = Pendulum()
    n = make(Settings("sqp"), model=model)
    exports, stages, program = model.exports, n._stages, n._newton._qp
    plain, heavy = (n.solve(HANGING, UPRIGHT, p=np.array([load, 0.0]), elapsed=0.0) for load in (0.0, 0.8))
    assert np.abs(plain.inputs - heavy.inputs).max() > 0.5
    p = np.array([0.8, 0.0])
    np.testing.assert_allclose(heavy.states[1], model.step(HANGING, heavy.inputs[0], p), atol=1e-6)
    assert model.exports == exports and n._stages is stages and n._newton._qp is program


def test_the_warm_start_is_the_last_plan_moved_on():
    n = make(Settings("sqp"))
    first = n.solve(HANGING, UPRIGHT)
    moved = n._moved_on(n._guess, 1.0)
    np.testing.assert_allclose(moved.states[:-1], first.states[1:])
    np.testing.assert_allclose(moved.blocks[:-1], first.inputs[1:])
    np.testing.assert_allclose(moved.blocks[-1], first.inputs[-1])
    half = n._moved_on(n._guess, 0.5)
    np.testing.assert_allclose(half.states[:-1], 0.5 * (first.states[:-1] + first.states[1:]))
    # One step on, in the state that the model led to, half the steps of a cold start are enough.
    on = n.solve(first.states[1], UPRIGHT)
    cold = make(Settings("sqp")).solve(first.states[1], UPRIGHT)
    assert on.cost == pytest.approx(cold.cost, rel=1e-6) and on.iterations < cold.iterations


def test_an_infeasible_program_flies_the_last_plan_and_then_the_safe_input():
    limit = state_limits("rate", SPEC, {"rate": (-3.0, 3.0)})
    n = make(Settings(patience=2.0), constraints=[limit])
    good = n.solve(np.array([0.5, 0.0]), UPRIGHT)
    lost = np.array([0.5, 30.0])  # no torque brings that within the limit in one step
    answers = [n.solve(lost, UPRIGHT) for _ in range(4)]
    assert [a.status for a in answers] == ["shifted", "shifted", "safe", "safe"]
    assert all(a.fell_back and a.reason == "infeasible" for a in answers)
    np.testing.assert_allclose(answers[0].inputs[:-1], good.inputs[1:])
    np.testing.assert_allclose(answers[1].inputs[:-2], good.inputs[2:])
    np.testing.assert_allclose(answers[2].inputs, -15.0)
    assert n.counts == {"ok": 1, "shifted": 2, "safe": 2, "infeasible": 4}
    assert n.solve(np.array([0.5, 0.0]), UPRIGHT).status == "ok"  # it recovers by itself


def test_a_bound_on_the_program_and_a_deadline_end_in_the_fallback_and_are_counted():
    short = make(Settings(qp_iterations=1))
    assert short.solve(HANGING, UPRIGHT).reason == "qp_iterations" and short.counts["safe"] == 1
    late = make(Settings(deadline=1e-9))
    assert late.solve(HANGING, UPRIGHT).reason == "deadline"
    assert late.counts == {"safe": 1, "deadline": 1, "late": 1}
    best = make(Settings("sqp", iterations=2)).solve(HANGING, UPRIGHT)
    assert (best.status, best.iterations, best.fell_back) == ("limit", 2, False)


def test_what_is_not_finite_or_of_another_shape_is_refused_and_changes_nothing():
    n, same = make(), make()
    for other in (n, same):
        other.solve(HANGING, UPRIGHT)
    spoilt = UPRIGHT.copy()
    spoilt[3, 1] = np.inf
    for arguments, reason in (
        ((np.array([np.nan, 0.0]), UPRIGHT), "nan"),
        ((HANGING, spoilt), "nan"),
        ((HANGING, UPRIGHT, np.array([np.nan, 0.0])), "nan"),
        ((np.zeros(3), UPRIGHT), "shape"),
        ((HANGING, UPRIGHT[:-1]), "shape"),
    ):
        with pytest.raises(InputRejected) as error:
            n.solve(*arguments)
        assert error.value.reason == reason
    np.testing.assert_array_equal(n.solve(HANGING, UPRIGHT).inputs, same.solve(HANGING, UPRIGHT).inputs)
    assert n.counts == {"ok": 2}


def test_a_model_that_knows_its_linearisation_is_asked_for_it():
    class Knows(Pendulum):
        def linearise(self):
            f = self.to_casadi()
            x, u, p = (ca.MX.sym(n, f.numel_in(i)) for i, n in enumerate("xup"))
            y = f(x, u, p)
            self.asked = True
            return ca.Function("lin", [x, u, p], [y, ca.jacobian(y, x), ca.jacobian(y, u)])

    model = Knows()
    a = make(Settings("sqp"), model=model).solve(HANGING, UPRIGHT)
    assert model.asked
    np.testing.assert_allclose(a.inputs, make(Settings("sqp")).solve(HANGING, UPRIGHT).inputs, atol=1e-9)


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"blocks": (5, 5)}, "do not add up"),
        ({"input_lower": np.array([20.0])}, "must lie below"),
        ({"input_rate": np.array([0.0])}, "must be positive"),
        ({"rest_input": np.zeros(2)}, "rest_input needs 1"),
        ({"constraints": [MIXED, MIXED]}, "two constraints"),
        ({"constraints": [Constraint("u", lambda x, u, p, y: u, np.zeros(1), np.ones(1))]}, "inputs=True"),
    ],
)
def test_a_problem_that_does_not_fit_is_refused_when_it_is_built(changes, word):
    with pytest.raises(InvalidInput, match=word):
        make(**changes)


def test_unknown_names_list_the_known():
    with pytest.raises(UnknownName, match="rti, sqp, ipopt"):
        Settings("acados")
    with pytest.raises(UnknownName, match="angle, rate"):
        state_limits("limit", SPEC, {"speed": (0.0, 1.0)})

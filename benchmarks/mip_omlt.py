"""The direct arrays beside OMLT and Pyomo: the same net, bounds, solver and options; time to build and to an optimum.

OMLT puts a binary on every unit of a ReLU layer and has no layers of mixed kinds, so an identity becomes a ReLU that is
shifted until it is always active. Its blocks are given the same bounds as ours: of ReLUs' arguments, of states and of
their change. Both solve without presolve, with which HiGHS is not right on such programs (group "presolve"). Times are
of one thread's processor, so that they mean the same on a busy machine.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.mip_fits import Fit, Net, read_fit
from benchmarks.mip_plans import Instance, instances
from benchmarks.mip_statistics import bootstrap, over
from benchmarks.mip_work import Part, Work
from control_stack.artefacts.tables import BenchRow, Findings
from control_stack.bounds.step import step_template
from control_stack.learning.sparse_relu import SparseReLUDynamics
from control_stack.types import Array
from controllers.planning.mip import MipPlanner
from controllers.planning.mip.algebraic import _goal, _inputs
from controllers.planning.mip.boxes import Boxes, boxes_from
from controllers.planning.mip.solve import RELATIVE_GAP, solve
from controllers.planning.problem import Problem

RELUS, HORIZON = 8, 5
LIMIT_S = 20.0  # of each, for one program
_FIRST = 9000  # starts
_OPTIONS = {"presolve": "off", "threads": 1, "parallel": "off", "mip_rel_gap": RELATIVE_GAP, "time_limit": LIMIT_S}


def measure(fit: Fit, work: Work, seed: int, quick: bool) -> Findings:
    """Of one task's net with 8 ReLUs, horizon 5."""
    test = f"{fit.task}, {RELUS} ReLUs, horizon {HORIZON}, beside OMLT"
    try:
        import omlt  # noqa: F401
        import pyomo.environ  # noqa: F401
    except ImportError as error:
        return Findings([BenchRow(f"{test}: skipped, {error.name} is missing (extra dev)", "measured", 0.0, "1")], {})
    net = (fit.method, RELUS)
    (given,) = work([Part(instances, fit, (net, HORIZON, 2 if quick else 8, _FIRST + 1000 * seed))])
    return summary(test, work([Part(both, fit, (net, of)) for of in given], alone=True))


def both(folder: Path, net: Net, kept: Any) -> dict[str, float]:
    """One program, solved by either."""
    fit, of = read_fit(folder), Instance.read(kept)
    problem = fit.problem(net, HORIZON)
    written = fit.chain(net).unrolled()  # with its identities
    _peer(problem, written, of, solved=False)  # imports and first calls are no part of it
    return {**_ours(problem, of), **_peer(problem, written, of)}


def summary(test: str, programs: Sequence[Mapping[str, float]]) -> Findings:
    """Rows from ``both`` of each program. One that the peer gave up on counts with the time that it had."""
    found = {key: [program[key] for program in programs] for key in programs[0]}
    values = {key: np.array(each, float) for key, each in found.items()}
    done = values["peer ended"] > 0.0

    def row(metric: str, own: str, peer: str, target: str | None = None) -> list[BenchRow]:
        a, b = values[own], values[peer]
        ratio, sure = _faster(a, b), bootstrap(_faster, a, b)
        return [
            BenchRow(test, metric, 1e3 * float(np.median(a)), "ms", None, 1e3 * float(np.median(b))),
            BenchRow(test, f"{metric}: times faster", ratio, "1", target, interval=sure),
        ]

    agree = np.abs(values["cost"] - values["peer cost"])[done]
    rows = [
        *row("build", "build", "peer build", ">= 20"),
        *row("optimum, sampling and build counted for ours, HiGHS alone for OMLT", "total", "peer highs", ">= 2"),
        *row("HiGHS alone, ours without a start", "cold", "peer highs"),
        *row("everything", "total", "peer total"),
        BenchRow(test, "binaries", float(values["binaries"][0]), "1", None, float(values["peer binaries"][0])),
        BenchRow(test, "programs", float(len(programs)), "1"),
        BenchRow(test, f"programs given up by OMLT after {LIMIT_S:g} s", float((~done).sum()), "1"),
        BenchRow(test, f"programs given up by ours without a start, after {LIMIT_S:g} s",
                 float((values["cold ended"] == 0.0).sum()), "1"),
        BenchRow(test, "largest difference of the optima", float(agree.max(initial=0.0)), "1", "<= 2e-4"),
    ]  # fmt: skip
    return Findings(rows, {"seconds": values})


def _faster(own: Array, peer: Array) -> float:
    return over(float(np.median(peer)), float(np.median(own)))


def _ours(problem: Problem, of: Instance) -> dict[str, float]:
    planner = MipPlanner(problem, max_nodes=None)
    began = time.process_time()
    milp = planner.program(of.x0, of.goal, of.before)
    build = time.process_time() - began
    began = time.process_time()
    answer = solve(milp, [], lambda incumbent: None, lambda: time.process_time() - began > LIMIT_S)
    cold = time.process_time() - began
    began = time.process_time()
    plan = planner.plan(of.x0, of.goal, None, of.before)
    total = time.process_time() - began
    return {"build": build, "cold": cold, "cold ended": float(answer.status == "optimal"), "total": total,
            "cost": plan.cost, "binaries": float(planner.encoding.binaries)}  # fmt: skip


def _peer(problem: Problem, written: SparseReLUDynamics, of: Instance, solved: bool = True) -> dict[str, float]:
    import pyomo.environ as pyo

    template = step_template(problem.model.collapsed().to_network(), problem.nx)
    limits = (np.tile(side, (problem.horizon, 1)) for side in (problem.spec.input_lower, problem.spec.input_upper))
    boxes = boxes_from(template, of.x0, *limits)
    logging.getLogger("pyomo.core").setLevel(logging.ERROR)  # OMLT's variables begin outside their bounds
    began = time.process_time()
    model = omlt_model(problem, written, of, boxes)
    build = time.process_time() - began
    if not solved:
        return {}
    solver = pyo.SolverFactory("appsi_highs")
    solver.config.load_solution = False
    solver.highs_options = _OPTIONS
    began = time.process_time()
    solver.set_instance(model)
    handed = time.process_time() - began
    began = time.process_time()
    result = solver.solve(model, load_solutions=False)
    highs = time.process_time() - began
    ended = result.solver.termination_condition == pyo.TerminationCondition.optimal
    binaries = sum(v.is_binary() and not v.fixed for v in model.component_data_objects(pyo.Var))
    cost = float(result.problem.upper_bound) if ended else float("nan")
    return {"peer build": build, "peer highs": highs, "peer total": build + handed + highs,
            "peer cost": cost, "peer ended": float(ended), "peer binaries": float(binaries)}  # fmt: skip


def omlt_model(problem: Problem, written: SparseReLUDynamics, of: Instance, boxes: Boxes) -> Any:
    """A Pyomo model with an OMLT block for each step; objective ``cost`` as in ``mip.algebraic``."""
    import pyomo.environ as pyo
    from omlt import OmltBlock
    from omlt.neuralnet import FullSpaceNNFormulation
    from omlt.neuralnet.layer import DenseLayer
    from omlt.neuralnet.layers.full_space import full_space_dense_layer

    spec = problem.spec
    m = pyo.ConcreteModel()
    m.T, m.S = pyo.RangeSet(0, problem.horizon - 1), pyo.RangeSet(1, problem.horizon)
    m.I, m.J, m.Y = (pyo.RangeSet(0, n - 1) for n in (problem.nx, problem.nu, len(spec.weights)))
    m.x = pyo.Var(
        pyo.RangeSet(0, problem.horizon), m.I, bounds=lambda _, t, i: (boxes.state_lower[t, i], boxes.state_upper[t, i])
    )
    m.u = pyo.Var(m.T, m.J, bounds=lambda _, t, j: (spec.input_lower[j], spec.input_upper[j]))
    for i in m.I:
        m.x[0, i].fix(of.x0[i])
    m.net = OmltBlock(m.T)
    for t in m.T:
        low = np.concatenate([boxes.state_lower[t], spec.input_lower])
        high = np.concatenate([boxes.state_upper[t], spec.input_upper])
        net, known = _network(written, low, high, boxes.argument_lower[t], boxes.argument_upper[t])

        def bounded(block: Any, net: Any, layer_block: Any, layer: Any, known: Any = known) -> None:
            full_space_dense_layer(block, net, layer_block, layer)
            for k, (least, most) in enumerate(known.get(id(layer), ())):
                layer_block.zhat[k].setlb(least)
                layer_block.zhat[k].setub(most)

        m.net[t].build_formulation(FullSpaceNNFormulation(net, layer_constraints={DenseLayer: bounded}))
        for i in m.I:
            m.net[t].outputs[i].setlb(boxes.change_lower[t, i])
            m.net[t].outputs[i].setub(boxes.change_upper[t, i])
    m.reads = pyo.Constraint(m.T, m.I, rule=lambda m, t, i: m.net[t].inputs[i] == m.x[t, i])
    m.driven = pyo.Constraint(m.T, m.J, rule=lambda m, t, j: m.net[t].inputs[problem.nx + j] == m.u[t, j])
    m.step = pyo.Constraint(m.T, m.I, rule=lambda m, t, i: m.x[t + 1, i] == m.x[t, i] + m.net[t].outputs[i])
    m.cost = pyo.Objective(expr=_goal(pyo, m, problem, of.goal) + _inputs(pyo, m, problem, of.before))
    return m


def _network(
    written: SparseReLUDynamics, low: Array, high: Array, relu_low: Array, relu_high: Array
) -> tuple[Any, dict[int, list[tuple[float, float]]]]:  # fmt: skip
    """The net as OMLT has nets, and by layer the bounds of its units' arguments.

    Args:
        low, high: Of [x, u]. relu_low, relu_high: Of the ReLUs' arguments, in the net's order.
    """
    from omlt.neuralnet import NetworkDefinition
    from omlt.neuralnet.layer import DenseLayer, InputLayer

    inputs = {k: (float(a), float(b)) for k, (a, b) in enumerate(zip(low, high, strict=True))}
    net = NetworkDefinition(scaled_input_bounds=inputs)
    before: Any = InputLayer([len(low)])
    net.add_layer(before)
    kept, shift, used, known = np.arange(len(low)), np.zeros(len(low)), 0, {}
    for layer in written.layers:
        last = layer is written.layers[-1]
        (weight,) = layer.weights.values()  # a net as it was trained reads the layer before only
        alive = np.flatnonzero([gate != "zero" for gate in layer.gates])
        weight, bias = weight[np.ix_(alive, kept)], layer.bias[alive] - weight[np.ix_(alive, kept)] @ shift
        positive, negative = np.maximum(weight, 0.0), np.minimum(weight, 0.0)
        least, most = positive @ low + negative @ high + bias, positive @ high + negative @ low + bias
        shift = np.zeros(len(alive))
        if not last:
            relu = np.array([layer.gates[k] == "relu" for k in alive])
            n = int(relu.sum())
            least[relu], most[relu] = relu_low[used : used + n], relu_high[used : used + n]
            used += n
            shift[~relu] = np.maximum(-least[~relu], 0.0) + 1e-6
            least, most, bias = least + shift, most + shift, bias + shift
            low, high = np.maximum(least, 0.0), np.maximum(most, 0.0)
        dense = DenseLayer(
            [weight.shape[1]], [len(alive)], activation="linear" if last else "relu", weights=weight.T, biases=bias
        )
        net.add_layer(dense)
        net.add_edge(before, dense)
        if not last:
            known[id(dense)] = [(float(a), float(b)) for a, b in zip(least, most, strict=True)]
        before, kept = dense, alive
    return net, known

"""Closed loops that measure solvers: one quadrotor, one trajectory, calls at 100 Hz."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from control_stack.laws.cascade import InnerLoops
from control_stack.quadrotor.long_step import LongStepQuadrotor
from control_stack.quadrotor.parameters import load_vehicle
from control_stack.quadrotor.residual import FEATURES, ResidualQuadrotor, TanhNetwork
from control_stack.quadrotor.symbolic import import_casadi
from control_stack.trajectories import Lissajous
from control_stack.types import Array, CommandLevel, Reference
from controllers.nmpc.flight_reference import FlightReference
from controllers.nmpc.problem import Problem
from controllers.nmpc.quadrotor import NmpcController, Weights, quadrotor_problem
from controllers.nmpc.solver import Nmpc, Settings
from controllers.nmpc.stages import Stages
from sim.config import SimulationConfig
from sim.factory import make_vehicle

PERIOD, STEP, HORIZON = 0.01, 0.04, 20
LEVELS = (CommandLevel.ROTORS, CommandLevel.CTBR)
# Dense solvers of the wheel; DAQP first, since the others' costs are compared with its own.
_WHEEL = {"daqp": {}, "osqp": {"osqp": {"verbose": False}}, "proxqp": {}, "piqp": {}}
Solver = Callable[[Array, Array], Array]  # state, references -> input


def residual_model(level: CommandLevel, dt: float, seed: int, vehicle: str = "crazyflie") -> ResidualQuadrotor:
    """The vehicle with a 2x64 tanh network of random weights: accelerations of a few tenths of m/s^2."""
    random = np.random.default_rng(seed)
    shapes = ((64, FEATURES), (64, 64), (3, 64))
    weights = tuple(random.standard_normal(shape) / shape[1] ** 0.5 for shape in shapes)
    biases = tuple(0.1 * random.standard_normal(shape[0]) for shape in shapes)
    scale = np.array([1.0, 1.0, 1.0, 1.5, 1.5, 1.5, 2.0, 2.0, 1.0, 5.0])
    network = TanhNetwork(weights, biases, np.zeros(FEATURES), scale, np.full(3, 0.3))
    return ResidualQuadrotor(LongStepQuadrotor(load_vehicle(vehicle), level, dt), network)


def foreseen(trajectory: Lissajous, t: float) -> Reference:
    """As in flight: the reference that knows its future."""
    return replace(trajectory(t), ahead=lambda offset: trajectory(t + offset))


def controller_times(level: CommandLevel, residual: bool, seconds: float, seed: int) -> tuple[Array, dict[str, int]]:
    """Wall time of each call, ms, on the eight in the analytic simulator; and the controller's counts."""
    parameters = load_vehicle("crazyflie")
    trajectory = Lissajous((0.0, 0.0, 1.0), laps=10)
    model = residual_model(level, STEP, seed) if residual else None
    controller = NmpcController(parameters, level, 1.0 / PERIOD, model=model, step=STEP, horizon=HORIZON)
    vehicle = make_vehicle("analytic", parameters, SimulationConfig(seed=seed, position_w=(0.0, 0.0, 1.0)))
    vehicle.connect()
    vehicle.arm()
    times = []
    for k in range(-20, round(seconds / PERIOD)):
        state = vehicle.state()
        reference = foreseen(trajectory, state.stamp)
        started = time.perf_counter()
        command = controller(state.stamp, state, reference)
        if k >= 0:
            times.append(1e3 * (time.perf_counter() - started))
        vehicle.send(command)
        vehicle.step(PERIOD)
    vehicle.close()
    return np.array(times), controller.counts


@dataclass(frozen=True)
class Flown:
    """times: ms of each solve. cost: mean of 1/2 |r|^2 at the states and inputs that were flown."""

    times: Array
    cost: float


class Loop:
    """A start away from the eight, which is then flown: model and plant are the same but for the step.

    Attributes:
        problem: Without soft constraints, changes of input and blocks, which solvers treat each in their own way.
        p: Parameters of the model.
    """

    def __init__(self, model: ResidualQuadrotor, steps: int):
        parameters = model.nominal.parameters
        self.model, self._steps = model, steps
        problem = quadrotor_problem(model, parameters, model.nominal.level, Weights(), HORIZON, None)
        self.problem: Problem = replace(problem, constraints=(), input_change=None)
        self.p = model.spec.defaults
        self._plant = ResidualQuadrotor(LongStepQuadrotor(parameters, model.nominal.level, PERIOD), model.network)
        self._references = FlightReference(InnerLoops.of(parameters), HORIZON, STEP)
        self._trajectory = Lissajous((0.0, 0.0, 1.0), ramp=1.0)

    def fly(self, solver: Solver) -> Flown:
        """Calls the solver at 100 Hz; the first second of calls counts like the rest."""
        residual = Stages(self.problem).residual
        x = np.zeros(13)
        x[0:3], x[9] = [0.15, -0.1, 0.9], 1.0
        times, cost = [], 0.0
        for k in range(self._steps):
            reference = foreseen(self._trajectory, k * PERIOD)
            y = self._references(reference, x, self.p)
            started = time.perf_counter()
            u = solver(x, y)
            times.append(1e3 * (time.perf_counter() - started))
            cost += 0.5 * float(np.square(np.asarray(residual(x, u, self.p, y[0]))).sum())
            x = self._plant.step(x, u)
        return Flown(np.array(times), cost / self._steps)


def own_solver(loop: Loop, method: str) -> Solver:
    """One of our methods on the loop's problem."""
    rest = np.asarray(loop.problem.rest_input)
    nmpc = Nmpc(loop.problem, lambda x, p: rest, Settings(method, tolerance=1e-6))
    return lambda x, y: nmpc.solve(x, y, loop.p, PERIOD).inputs[0]


def program_times(calls: int) -> list[tuple[str, Array, float]]:
    """(solver, ms of each program, largest share by which its cost lies above DAQP's) on one flight's programs."""
    ca = import_casadi()
    parameters = load_vehicle("crazyflie")
    controller = NmpcController(parameters, CommandLevel.ROTORS, 1.0 / PERIOD, step=STEP, horizon=HORIZON)
    condenser = controller._nmpc._newton._condenser  # the programs as they are, which nothing else needs to see
    vehicle = make_vehicle("analytic", parameters, SimulationConfig(position_w=(0.0, 0.0, 1.0)))
    vehicle.connect()
    vehicle.arm()
    found = []
    for _ in range(calls):
        state = vehicle.state()
        vehicle.send(controller(state.stamp, state, Reference(np.array([1.0, -1.0, 1.5]))))
        c = condenser
        found.append({k: np.array(getattr(c, k)) for k in ("h", "g", "a", "lba", "uba", "lbx", "ubx")})
        vehicle.step(PERIOD)
    vehicle.close()
    size = {"h": ca.Sparsity.dense(*condenser.h.shape), "a": ca.Sparsity.dense(*condenser.a.shape)}
    best = np.zeros(calls)
    rows: list[tuple[str, Array, float]] = []
    for name, options in _WHEEL.items():
        solver = ca.conic("program", name, size, {"error_on_fail": False, **options})
        times, costs = [], []
        for program in found:
            started = time.perf_counter()
            answer = solver(**program)
            times.append(1e3 * (time.perf_counter() - started))
            costs.append(float(answer["cost"]) if solver.stats()["success"] else np.nan)
        if not rows:
            best = np.array(costs)
        rows.append((name, np.array(times), float(((np.array(costs) - best) / np.abs(best)).max())))
    return rows

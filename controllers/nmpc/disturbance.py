"""Wind and force that act on a quadrotor, estimated in flight from its velocity: estimators of an NMPC's p.

An extended Kalman filter on velocity, wind and force, through the same model that the controller plans with:

    v+ = f_v(x, u, p(wind, force)) + noise of ``velocity``
    d+ = exp(-dt / memory) d + noise of ``wind`` or ``force``,    measured: v + noise of ``measured``

"force" takes all that the model misses for a force in the world that lasts: a disturbance observer. It holds whatever
the cause; but what the air does to a vehicle changes as soon as that turns round. "wind" takes the rest for wind: the
model then tells how its force changes along the horizon with velocity, attitude and thrust. It is as good as the
model's drag, learned or not.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from control_stack.errors import InvalidInput, UnknownName
from control_stack.laws.rotor_model import RotorModel
from control_stack.protocols import Dynamics
from control_stack.quadrotor.long_step import FORCE, LongStepQuadrotor
from control_stack.quadrotor.residual import ResidualQuadrotor
from control_stack.quadrotor.symbolic import import_casadi
from control_stack.types import Array, Command, CommandLevel, QuadrotorState, RatesThrustCommand, RotorCommand
from controllers.columns import array_of
from controllers.nmpc.problem import Linearised
from controllers.nmpc.stages import Buffered

WIND = slice(0, 3)  # of p
_VELOCITY, _WIND, _FORCE = slice(0, 3), slice(3, 6), slice(6, 9)  # of the filter's state
# Share of ``wind`` that changes along z: mean winds are level, and the Dryden model's vertical gusts half as strong as
# the others at 20 ft. A wind along z that is free would take what is wrong with the thrust.
_VERTICAL = 0.3
_LOST = 10  # periods without a measurement after which velocity is taken as it is measured next
_MOST_WIND, _MOST_FORCE = 25.0, 6.0  # m/s and m/s^2: no more is believed


@dataclass(frozen=True)
class FilterNoise:
    """What is expected to change, as standard deviations per square root of a second; 0: it does not exist.

    Attributes:
        wind: level, (m/s)/s^0.5; along z a share of it. force: of the force over the mass, (m/s^2)/s^0.5.
        velocity: of the velocity beyond what the model says, (m/s)/s^0.5.
        measured: standard deviation of a measured velocity, m/s.
        memory: s after which an estimate that nothing confirms has faded to 1/e.
    """

    wind: float = 0.0
    force: float = 0.0
    velocity: float = 0.03
    measured: float = 0.01
    memory: float = 30.0

    def __post_init__(self) -> None:
        values = (self.wind, self.force, self.velocity, self.measured, self.memory)
        if not all(math.isfinite(v) and v >= 0.0 for v in values) or self.measured <= 0.0 or self.memory <= 0.0:
            raise InvalidInput("an estimator's noise is finite and not negative, measured and memory are positive")
        if self.wind == self.force == 0.0:
            raise InvalidInput("an estimator needs wind or force to change, else there is nothing to estimate")


def estimators_file() -> Path:
    """Where ``scripts/tune_estimators.py`` writes the noises of ``ESTIMATORS``."""
    return Path(__file__).with_name("estimators.json")


ESTIMATORS: Mapping[str, FilterNoise] = {
    name: FilterNoise(**noise) for name, noise in json.loads(estimators_file().read_text(encoding="utf-8")).items()
}


def estimator_noise(name: str) -> FilterNoise:
    """Of an estimator by name. Raises UnknownName."""
    if name not in ESTIMATORS:
        raise UnknownName("estimator", name, ["none", *ESTIMATORS])
    return ESTIMATORS[name]


class DisturbanceFilter:
    """Implements ``control_stack.protocols.Estimator`` for the models of ``NmpcController``.

    Args:
        model: As the controller plans with, at rotor or CTBR level; its step does not matter.
        noise: What changes. period: s between calls.
    """

    def __init__(self, model: LongStepQuadrotor | ResidualQuadrotor, noise: FilterNoise, period: float):
        nominal = model.nominal if isinstance(model, ResidualQuadrotor) else model
        self._level, parameters, self._dt = nominal.level, nominal.parameters, period
        short: Dynamics = LongStepQuadrotor(parameters, nominal.level, period)
        if isinstance(model, ResidualQuadrotor):
            short = ResidualQuadrotor(short, model.network, model.adaptive)  # type: ignore[arg-type]
        self._predict = Buffered(_velocity_after(short))
        self._rotors = RotorModel(parameters, period)
        self._mass, self._defaults = float(parameters.mass), np.array(short.spec.defaults)
        kept = math.exp(-period / noise.memory)
        self._keep = np.array([1.0] * 3 + [kept] * 6)
        rates = np.repeat([noise.velocity, noise.wind, noise.force], 3)
        rates[5] *= _VERTICAL
        self._process = period * rates * rates
        self._measured = noise.measured**2
        # Where an estimate lies when nothing has been measured: its spread in the long run.
        self._first = 0.5 * noise.memory * rates * rates
        self.reset()

    def reset(self) -> None:
        """Still air, no force."""
        self._mean, self._cov = np.zeros(9), np.diag(self._first)
        self._rotors.reset()
        self._last: tuple[float, Array] | None = None
        self._stamp = -math.inf

    def update(self, t: float, state: QuadrotorState, sent: Command) -> tuple[Array, Array]:
        """(p, its standard deviation). t: s. state: now. sent: the command since the last call."""
        u = self._input(sent)
        x = self._columns(state)
        periods = 0 if self._last is None else round((t - self._last[0]) / self._dt)
        if self._last is not None and 0 < periods <= _LOST:
            for _ in range(periods):
                self._move_on(self._last[1], u)
            if state.stamp > self._stamp:  # a measurement that is reported again says nothing new
                self._correct(state.velocity_w)
        elif self._last is None or periods:
            self._mean[_VELOCITY] = state.velocity_w
            self._cov[_VELOCITY, :] = self._cov[:, _VELOCITY] = 0.0
            self._cov[_VELOCITY, _VELOCITY] = self._measured * np.eye(3)
        self._last, self._stamp = (t, x), state.stamp
        return self._answer()

    def _input(self, sent: Command) -> Array:
        if self._level is CommandLevel.ROTORS and isinstance(sent, RotorCommand):
            self._rotors.advance(tuple(sent.rotor_speed.tolist()))
            return array_of(self._rotors.speed)
        if self._level is CommandLevel.CTBR and isinstance(sent, RatesThrustCommand):
            return np.array([*sent.omega_b, float(sent.thrust)])
        raise InvalidInput(f"an estimator for level '{self._level.value}' was given a command of '{sent.level.value}'")

    def _columns(self, state: QuadrotorState) -> Array:
        parts = [state.position_w, state.velocity_w, state.quat_xyzw, state.omega_b]
        if self._level is CommandLevel.ROTORS:
            parts.append(array_of(self._rotors.observe(state)))
        return np.concatenate(parts)

    def _parameters(self) -> Array:
        p = self._defaults.copy()
        p[WIND], p[FORCE] = self._mean[_WIND], self._mass * self._mean[_FORCE]
        return p

    def _move_on(self, x: Array, u: Array) -> None:
        """One period under u; attitude and rates as they were measured at its start."""
        x[3:6] = self._mean[_VELOCITY]
        after, by_velocity = self._predict(x, u, self._parameters())
        slope = by_velocity[0].T  # buffers hold columns
        f = np.diag(self._keep)
        f[_VELOCITY, _VELOCITY] = slope
        f[_VELOCITY, _WIND] = np.eye(3) - slope  # velocity enters as airspeed only
        f[_VELOCITY, _FORCE] = self._dt * np.eye(3)
        self._mean = np.concatenate([after.ravel(), self._keep[3:] * self._mean[3:]])
        self._cov = f @ self._cov @ f.T
        self._cov[range(9), range(9)] += self._process

    def _correct(self, velocity: Array) -> None:
        spread = self._cov[_VELOCITY, _VELOCITY] + self._measured * np.eye(3)
        gain = np.linalg.solve(spread, self._cov[_VELOCITY, :]).T
        self._mean = self._mean + gain @ (velocity - self._mean[_VELOCITY])
        self._cov = self._cov - gain @ self._cov[_VELOCITY, :]
        self._cov = 0.5 * (self._cov + self._cov.T)
        for part, most in ((_WIND, _MOST_WIND), (_FORCE, _MOST_FORCE)):
            size = float(np.linalg.norm(self._mean[part]))
            self._mean[part] *= min(1.0, most / max(size, 1e-9))

    def _answer(self) -> tuple[Array, Array]:
        spread = np.zeros(len(self._defaults))
        deviation = np.sqrt(np.maximum(np.diag(self._cov), 0.0))
        spread[WIND], spread[FORCE] = deviation[_WIND], self._mass * deviation[_FORCE]
        return self._parameters(), spread


def _velocity_after(model: Dynamics) -> object:
    """casadi.Function (x, u, p) -> velocity after the step, its derivative by the velocity before."""
    ca = import_casadi()
    f = model.to_casadi()
    x, u, p = (ca.MX.sym(n, f.numel_in(i)) for i, n in enumerate("xup"))
    if isinstance(model, Linearised):
        after, by_x = model.linearise()(x, u, p)[:2]
    else:
        after = f(x, u, p)
        by_x = ca.jacobian(after, x)
    return ca.Function("velocity", [x, u, p], [ca.densify(after[3:6]), ca.densify(by_x[3:6, 3:6])])

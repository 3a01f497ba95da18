"""Quadrotor tracking: Crazyflies on the core's batched model follow figure-eights, rotor by rotor, at 100 Hz.

What is seen is what the foundation policy sees: errors of position and velocity, attitude, rate, previous action.

    reward = 1 - |position error| / 1 m a step;  an episode fails at 1 m, or tilted beyond 75 degrees

An action of -1..1 spans rotor commands of 0.3 of the full speed on both sides of hover.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch

from control_stack.foundation.airframes import calm
from control_stack.foundation.quantities import of_vehicle
from control_stack.foundation.training.episodes import Waves, hover
from control_stack.foundation.training.simulator import DT, Fleet, observe, rotor_command, world_step
from control_stack.learning.imitation.tasks import Mask
from control_stack.quadrotor.parameters import load_vehicle
from control_stack.types import Array, Reference

VEHICLE = "crazyflie"
SPAN = 0.6  # of raw actions (twice the normalised rotor speed) on each side of hover
_FAR, _TILTED = 1.0, math.cos(math.radians(75.0))
_START = {"position": 0.2, "velocity": 0.3, "rate": 0.3, "tilt": 0.2}  # m, m/s, rad/s, rad: uniform in +-this
_LAP, _SIZE = (6.0, 12.0), (0.3, 0.7)  # s, m


class QuadrotorLanes:
    """N vehicles, each with a start and a turned figure-eight of its own, drawn from the episode's seed."""

    def __init__(self, count: int):
        one = of_vehicle(load_vehicle(VEHICLE))
        airframes = one[np.zeros(count, dtype=int)]
        self._hover = float(one.hover_speed[0])
        self._fleet = Fleet.of(airframes, calm(airframes))
        self._waves: Waves = hover(count)
        self._x, self._previous = torch.zeros(17, count), torch.zeros(4, count)
        self._x[9] = 1.0
        self._clock = torch.zeros(count)

    def __len__(self) -> int:
        return self._x.shape[1]

    @property
    def middle(self) -> float:
        """Raw action that hovers."""
        return 2.0 * self._hover - 1.0

    def begin(self, lane: int, seed: int) -> Array:
        """Starts an episode in a lane; returns its first observation (22,)."""
        random = np.random.default_rng([seed, 11])
        axis = random.normal(size=3)
        half = 0.5 * random.uniform(0.0, _START["tilt"])
        state = np.concatenate([
            *(random.uniform(-_START[name], _START[name], 3) for name in ("position", "velocity")),
            math.sin(half) * axis / np.linalg.norm(axis), [math.cos(half)],
            random.uniform(-_START["rate"], _START["rate"], 3), np.full(4, self._hover),
        ])  # fmt: skip
        self._x[:, lane] = torch.from_numpy(state).float()
        self._previous[:, lane] = self.middle
        self._clock[lane] = 0.0
        turn, omega = random.uniform(0.0, 2.0 * math.pi), 2.0 * math.pi / random.uniform(*_LAP)
        size = random.uniform(*_SIZE)
        waves = self._waves
        for k, (a, b) in enumerate(((math.cos(turn), -math.sin(turn)), (math.sin(turn), math.cos(turn)))):
            waves.amplitude[k, 0, lane], waves.frequency[k, 0, lane] = size * a, omega
            waves.amplitude[k, 1, lane], waves.frequency[k, 1, lane] = 0.5 * size * b, 2.0 * omega
        waves.ramp[lane] = random.uniform(0.5, 3.0)
        return self._observe()[lane]

    def _observe(self) -> Array:
        """(N, 22)."""
        seen = observe(self._x[:13], self._waves.at(self._clock), self._previous)
        return np.nan_to_num(seen.T.double().numpy(), nan=0.0, posinf=1e3, neginf=-1e3)

    def raw(self, actions: Array) -> Array:
        """(N, 4) raw actions, as the foundation policy gives them, of actions in -1..1."""
        return np.clip(self.middle + SPAN * actions, -1.0, 1.0)

    def scaled(self, raw: Array) -> Array:
        """(N, 4) the actions in -1..1 nearest to raw ones."""
        return np.clip((raw - self.middle) / SPAN, -1.0, 1.0)

    def vehicles(self) -> Array:
        """(N, 17) states of the vehicles; rotor speeds are parts of the largest."""
        return self._x.T.double().numpy()

    def clock(self) -> Array:
        """(N,) s since the episodes began."""
        return self._clock.double().numpy()

    def reference(self, lane: int, t: float) -> Reference:
        """Where a lane's vehicle should be t seconds after its episode began, and from then on."""
        w = self._waves
        a, f, q = (part[:, :, lane].double().numpy() for part in (w.amplitude, w.frequency, w.phase))
        ramp = float(w.ramp[lane])

        def at(t: float) -> Reference:
            s, rate = (0.5 * t * t / ramp, t / ramp) if t < ramp else (t - 0.5 * ramp, 1.0)
            bend = 1.0 / ramp if t < ramp else 0.0  # of s
            angle, swift = f * s + q, a * f
            return Reference(
                (a * (np.sin(angle) - np.sin(q))).sum(1),
                (swift * np.cos(angle)).sum(1) * rate,
                (swift * np.cos(angle)).sum(1) * bend - (swift * f * np.sin(angle)).sum(1) * rate**2,
                ahead=lambda later: at(t + later),
            )

        return at(t)

    def step(self, actions: Array, active: Mask) -> tuple[Array, Array, Mask]:
        """One step of all; see ``Lanes``."""
        raw = torch.from_numpy(self.raw(actions).T).float()
        self._x = world_step(
            self._x, rotor_command(raw), self._fleet.columns, self._fleet.disturbance, method="semi_implicit"
        )
        self._previous, self._clock = raw, self._clock + DT
        off = (self._x[:3] - self._waves.at(self._clock)[:3]).norm(dim=0)
        upright = 1.0 - 2.0 * (self._x[6].square() + self._x[7].square())
        fine = torch.isfinite(self._x).all(0) & (off < _FAR) & (upright > _TILTED)
        lying = torch.zeros_like(self._x)
        lying[9] = 1.0
        # What has failed is parked where the arithmetic stays finite.
        self._x = torch.where(fine | torch.isfinite(self._x).all(0) & (self._x.abs().amax(0) < 1e3), self._x, lying)
        reward = torch.where(fine, 1.0 - off, torch.zeros_like(off))
        return self._observe(), reward.double().numpy(), (~fine).numpy()

    def state(self) -> Mapping[str, Array]:
        """States, references and clocks."""
        w = self._waves
        return {"x": self._x.numpy(), "previous": self._previous.numpy(), "clock": self._clock.numpy(),
                "amplitude": w.amplitude.numpy(), "frequency": w.frequency.numpy(), "ramp": w.ramp.numpy()}  # fmt: skip

    def restore(self, state: Mapping[str, Array]) -> None:
        """Goes on with ``state``."""
        own = {name: torch.from_numpy(np.array(value)) for name, value in state.items()}
        self._x, self._previous, self._clock = own["x"], own["previous"], own["clock"]
        self._waves = Waves(own["amplitude"], own["frequency"], self._waves.phase, own["ramp"])

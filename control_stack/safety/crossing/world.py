"""Eight quadrotors on a circle, each on its way to the opposite side: many such worlds at once, on the core's model.

Every vehicle filters its own thrust vector against all others with the barrier of ``barrier/approach.py`` on the
horizontal distance (below another vehicle there is its downwash). Two half-spaces per neighbour: one of a fixed gain,
which keeps the distance whatever else happens, and one of the gain that is asked for, which only makes a vehicle give
way earlier. Rows are horizontal, so that the nearest admissible thrust vector is one of the corners of a polygon.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from control_stack.algebra import body_axes
from control_stack.laws.allocation import RESPONSE_TIME, lead_rotor_speeds
from control_stack.laws.cascade import InnerLoops
from control_stack.quadrotor.model import QuadrotorDynamics
from control_stack.quadrotor.parameters import GRAVITY, load_vehicle
from control_stack.safety.barrier.approach import Surfaces, thrust_limits
from control_stack.types import Array

DT = 0.02  # s, of the model, the rate loop and the decisions
_RAISED = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)  # m/s^2: all limits, where they contradict each other
_HARD = 3.0  # 1/s: gain of the row that keeps the distance
RATE = 6.0  # 1/s: lambda of ``approach``
LOWEST, HIGHEST = 0.2, _HARD  # 1/s: gains that may be asked for


@dataclass(frozen=True)
class Crossing:
    """What is flown; its difficulty is frozen.

    Attributes:
        vehicles: On the circle. radius: Of it, m. distance: Between centres, kept horizontally, m.
        speed: m/s, wanted. patience: s until all must have arrived. near: m from the goal, is arrived.
        spread: Standard deviation of starts from a regular polygon, m.
        push: Unknown acceleration of each vehicle, constant over a crossing, m/s^2 at most.
    """

    vehicles: int = 8
    radius: float = 1.6
    distance: float = 0.35
    speed: float = 1.2
    patience: float = 12.0
    near: float = 0.2
    spread: float = 0.08
    push: float = 0.3
    deceleration: float = 2.0
    strongest: float = 7.0  # m/s^2, sideways


class Seen(NamedTuple):
    """What a vehicle knows: of itself and of each neighbour, x towards its goal, y to the left of that.

    Attributes:
        place, motion: (..., n, m, 2) of the neighbours relative to itself, m, m/s.
        own: (..., n, 3) distance to the goal, m, and velocity, m/s.
    """

    place: Array
    motion: Array
    own: Array


class Outcome(NamedTuple):
    """arrived: (B,) all vehicles in time. collided: (B,). least: (B,) m, distance. time: (B,) s until the last arrived,
    infinite where not. remaining: (B,) m, mean distance to goals at the end. paths: (T, B, n, 2) every 0.1 s."""

    arrived: NDArray[np.bool_]
    collided: NDArray[np.bool_]
    least: Array
    time: Array
    remaining: Array
    paths: Array


Policy = Callable[[Seen], Array]  # -> (..., n, m) gains, 1/s, within LOWEST and HIGHEST


def constant(gain: float) -> Policy:
    """The same gain for everybody, always."""
    return lambda seen: np.full(seen.place.shape[:-1], gain)


def fly(seeds: Array, policy: Policy, crossing: Crossing = Crossing()) -> Outcome:
    """Flies one crossing for each seed; equal seeds have equal starts and pushes."""
    world = _World(seeds, crossing)
    every, paths = round(0.1 / DT), []
    for step in range(round(crossing.patience / DT)):
        if step % every == 0:
            paths.append(world.x[..., 0:2].copy())
        world.step(policy)
    return world.outcome(np.array(paths))


class _World:
    def __init__(self, seeds: Array, crossing: Crossing):
        self.c, n = crossing, crossing.vehicles
        parameters = load_vehicle("crazyflie")
        self._loops, self._model = InnerLoops.of(parameters), QuadrotorDynamics(parameters, DT)
        self._k = float(parameters.gains.attitude[0])
        self._lag = 1.0 / float(parameters.gains.rate[0]) + RESPONSE_TIME + 0.5 * DT
        self._drag = float(parameters.drag[0]) / float(parameters.mass)
        self._mass = float(parameters.mass)
        self._max_rate = float(parameters.limits.body_rate[0])
        batch = len(seeds)
        self.x = np.zeros((batch, n, 17))
        self.goal, self._disturbance = np.zeros((batch, n, 2)), np.zeros((batch, n, 9))
        for b, seed in enumerate(np.asarray(seeds).tolist()):
            rng = np.random.default_rng((23, seed))
            turn = 2.0 * np.pi * (np.arange(n) / n + rng.uniform())
            ring = crossing.radius * np.stack([np.cos(turn), np.sin(turn)], axis=-1)
            self.x[b, :, 0:2] = ring + crossing.spread * rng.standard_normal((n, 2))
            self.goal[b] = -ring
            angle, size = rng.uniform(0.0, 2.0 * np.pi, n), crossing.push * rng.uniform(0.0, 1.0, n)
            self._disturbance[b, :, 3] = self._mass * size * np.cos(angle)
            self._disturbance[b, :, 4] = self._mass * size * np.sin(angle)
        self.x[..., 2], self.x[..., 9] = 1.0, 1.0
        self.x[..., 13:17] = parameters.hover_rotor_speed
        self._specific = np.full((batch, n), GRAVITY)
        self._least = np.full(batch, np.inf)
        self._time = np.full(batch, np.inf)
        self._others = np.array([[j for j in range(n) if j != i] for i in range(n)])
        self._steps = 0

    def step(self, policy: Policy) -> None:
        x = self.x
        columns = tuple(np.ascontiguousarray(np.moveaxis(x, -1, 0)))
        body = np.stack([np.stack(axis, axis=-1) for axis in body_axes(columns[6:10])], axis=-2)  # type: ignore[arg-type]
        w = x[..., 10:13]
        ahead = body + self._lag * np.cross((body * w[..., None]).sum(-2)[..., None, :], body)
        f = (ahead @ self._decide(policy, body, ahead)[..., None])[..., 0]
        k, held = self._k, np.maximum(self._specific, 2.0)
        rates = np.clip(
            np.stack([-k * f[..., 1] / held, k * f[..., 0] / held], axis=-1), -self._max_rate, self._max_rate
        )
        self._specific = self._specific + (1.0 - np.exp(-k * DT)) * (np.maximum(f[..., 2], 2.0) - self._specific)
        omega = (rates[..., 0], rates[..., 1], -2.0 * columns[12])
        wanted = self._loops.rate_command(columns, omega, self._mass * self._specific)
        rotors = lead_rotor_speeds(wanted, columns[13:17], self._loops.airframe)
        self.x = self._model.step(x, np.stack(rotors, axis=-1), self._disturbance)
        self._steps += 1
        self._note()

    def _note(self) -> None:
        p = self.x[..., 0:2]
        apart = np.linalg.norm(p[:, :, None] - p[:, self._others], axis=-1)
        self._least = np.minimum(self._least, apart.min(axis=(1, 2)))
        there = (np.linalg.norm(self.goal - p, axis=-1) < self.c.near).all(axis=1)
        self._time = np.where(there & np.isinf(self._time), self._steps * DT, self._time)

    def outcome(self, paths: Array) -> Outcome:
        left = np.linalg.norm(self.goal - self.x[..., 0:2], axis=-1).mean(axis=1)
        return Outcome(np.isfinite(self._time), self._least < self.c.distance, self._least, self._time, left, paths)

    def _decide(self, policy: Policy, body: Array, ahead: Array) -> Array:
        """(B, n, 3) thrust vectors, m/s^2."""
        p, v = self.x[..., 0:3], self.x[..., 3:6]
        still = np.array([0.0, 0.0, -GRAVITY])
        a = self._specific[..., None] * body[..., 2, :] + still - self._drag * v
        p_ahead, v_ahead = (p + self._lag * v)[..., 0:2], (v + self._lag * a)[..., 0:2]
        a_ahead = (self._specific[..., None] * ahead[..., 2, :] + still - self._drag * v)[..., 0:2]
        wanted = self._wanted(p, v)
        seen, rel = self._seen(p_ahead, v_ahead)
        limits_hard = self._limits(rel, v_ahead, a_ahead, np.full(rel.shape[:-1], _HARD))
        limits_soft = self._limits(rel, v_ahead, a_ahead, np.clip(policy(seen), LOWEST, HIGHEST))
        n = -rel / np.maximum(np.linalg.norm(rel, axis=-1), 1e-6)[..., None]
        flat = nearest(wanted[..., 0:2], n, np.minimum(limits_hard, limits_soft), self.c.strongest)
        for raised in _RAISED:
            left = np.isnan(flat[..., 0])
            if not left.any():
                break
            flat[left] = nearest(wanted[..., 0:2][left], n[left], limits_hard[left] + raised, self.c.strongest)
        flat = np.where(np.isfinite(flat), flat, 0.0)
        return np.concatenate([flat, wanted[..., 2:3]], axis=-1)

    def _wanted(self, p: Array, v: Array) -> Array:
        """Straight to the goal at the wanted speed, slower close to it, at constant height."""
        to_goal = self.goal - p[..., 0:2]
        length = np.linalg.norm(to_goal, axis=-1, keepdims=True)
        speed = np.minimum(self.c.speed, 1.5 * length)
        aim = 3.0 * (to_goal / np.maximum(length, 1e-6) * speed - v[..., 0:2])
        size = np.linalg.norm(aim, axis=-1, keepdims=True)
        aim = aim * np.minimum(1.0, 4.0 / np.maximum(size, 1e-9))
        up = 12.0 * (1.0 - p[..., 2:3]) - 6.0 * v[..., 2:3] + GRAVITY
        return np.concatenate([aim, np.clip(up, 6.0, 14.0)], axis=-1)

    def _seen(self, p: Array, v: Array) -> tuple[Seen, Array]:
        to_goal = self.goal - p
        length = np.linalg.norm(to_goal, axis=-1)
        forward = to_goal / np.maximum(length, 1e-6)[..., None]
        frame = np.stack([forward, np.stack([-forward[..., 1], forward[..., 0]], axis=-1)], axis=-2)  # rows
        rel = p[:, :, None] - p[:, self._others]
        rel_v = v[:, self._others] - v[:, :, None]
        place = -rel @ np.swapaxes(frame, -1, -2)
        motion = rel_v @ np.swapaxes(frame, -1, -2)
        own_v = (frame @ v[..., None])[..., 0]
        return Seen(place, motion, np.concatenate([length[..., None], own_v], axis=-1)), rel

    def _limits(self, rel: Array, v: Array, a: Array, gain: Array) -> Array:
        """(B, n, m): of n.A, half of what the pair may do together."""
        length = np.maximum(np.linalg.norm(rel, axis=-1), 1e-6)
        towards = -rel / length[..., None]
        room = 0.05 + (self.c.deceleration + self.c.push) * self._lag**2
        surfaces = Surfaces(
            (length - self.c.distance - room)[..., None],
            towards[..., None, :],
            np.ones((1, 2)),
            1.0 / length[..., None],
        )
        both = thrust_limits(
            surfaces, v[:, :, None] - v[:, self._others], a[:, :, None] - a[:, self._others], np.zeros(2),
            gain=gain[..., None], rate=RATE, lag_rate=self._k, deceleration=2.0 * self.c.deceleration,
            unknown=2.0 * self.c.push, unknown_speed=2.0 * self.c.push * self._lag,
        )  # fmt: skip
        return np.asarray(0.5 * both[..., 0])


def nearest(wanted: Array, rows: Array, limits: Array, strongest: float) -> Array:
    """(..., 2) argmin |f - wanted| over rows f <= limits and |f| <= strongest, among the corners of the polygon.

    Args:
        wanted: (..., 2). rows: (..., m, 2) of unit length. limits: (..., m).

    Returns:
        NaN where there is none. The bound on |f| is only checked, not a row.
    """
    excess = (rows * wanted[..., None, :]).sum(-1) - limits
    single = wanted[..., None, :] - excess[..., None] * rows
    pairs = np.array(list(combinations(range(rows.shape[-2]), 2)), dtype=int).reshape(-1, 2)
    r, s = rows[..., pairs[:, 0], :], rows[..., pairs[:, 1], :]
    b, c = limits[..., pairs[:, 0]], limits[..., pairs[:, 1]]
    det = r[..., 0] * s[..., 1] - r[..., 1] * s[..., 0]
    safe = np.where(np.abs(det) < 1e-6, np.nan, det)
    corner = np.stack([(b * s[..., 1] - c * r[..., 1]) / safe, (c * r[..., 0] - b * s[..., 0]) / safe], axis=-1)
    all_of = np.concatenate([wanted[..., None, :], single, corner], axis=-2)
    with np.errstate(invalid="ignore"):
        worst = (all_of @ np.swapaxes(rows, -1, -2) - limits[..., None, :]).max(axis=-1)
        keeps = (worst < 1e-6) & ((all_of**2).sum(-1) <= strongest**2)
        far = np.where(keeps, ((all_of - wanted[..., None, :]) ** 2).sum(-1), np.inf)
    best = far.argmin(axis=-1)
    found = np.take_along_axis(all_of, best[..., None, None], axis=-2)[..., 0, :]
    return np.asarray(np.where(np.isfinite(far.min(axis=-1))[..., None], found, np.nan))

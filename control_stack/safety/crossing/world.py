"""Eight quadrotors on a circle, each on its way to the opposite side: many such worlds at once, on the core's model.

Every vehicle filters its own thrust vector against all others with the barrier of ``barrier/approach.py`` on the
horizontal distance (below another vehicle there is its downwash). Two half-spaces per neighbour: one of a fixed gain,
which keeps the distance whatever else happens, and one of the gain that is asked for, which only makes a vehicle give
way earlier. Rows are horizontal, so that the nearest admissible thrust vector is one of the corners of a polygon.
"""

from __future__ import annotations

from itertools import combinations
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from control_stack.algebra import body_axes
from control_stack.laws.allocation import RESPONSE_TIME, lead_rotor_speeds
from control_stack.laws.cascade import InnerLoops
from control_stack.quadrotor.model import QuadrotorDynamics
from control_stack.quadrotor.parameters import GRAVITY, load_vehicle
from control_stack.safety.barrier.pairs import HIGHEST, LOWEST, Pair, directions, pair_limits
from control_stack.safety.crossing.seen import Policy, look
from control_stack.safety.crossing.setting import Crossing, start_of, wanted_velocity
from control_stack.types import Array

DT = 0.02  # s, of the model, the rate loop and the decisions
_RAISED = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)  # m/s^2: all limits, where they contradict each other
_RATE = 6.0  # 1/s: lambda of ``approach``
_MARGIN = 0.05  # m that a pair keeps beside its distance
_UNSEEN = 1e3  # m/s^2: limit of a row that cannot matter


class Outcome(NamedTuple):
    """arrived: (B,) all vehicles in time. collided: (B,). least: (B,) m, distance. time: (B,) s until the last arrived,
    infinite where not. remaining: (B,) m, mean distance to goals at the end. paths: (T, B, n, 2) every 0.1 s."""

    arrived: NDArray[np.bool_]
    collided: NDArray[np.bool_]
    least: Array
    time: Array
    remaining: Array
    paths: Array


def constant(gain: float) -> Policy:
    """The same gain for everybody, always."""
    return lambda seen: np.full(seen.place.shape[:-1], gain)


def fly(
    seeds: NDArray[np.int64], policy: Policy, crossing: Crossing = Crossing(), hardest: float = HIGHEST  # noqa: B008
) -> Outcome:  # fmt: skip
    """Flies one crossing for each seed; equal seeds have equal starts and pushes.

    Args:
        hardest: Gain of the row that keeps the distance, 1/s; those that are asked for are cut down to it.
    """
    world = _World(seeds, crossing, hardest)
    every, paths = round(0.1 / DT), []
    for step in range(round(crossing.patience / DT)):
        if step % every == 0:
            paths.append(world.x[..., 0:2].copy())
        world.step(policy)
    return world.outcome(np.array(paths))


class _World:
    def __init__(self, seeds: NDArray[np.int64], crossing: Crossing, hardest: float):
        self._hardest = hardest
        self.c, n = crossing, crossing.vehicles
        parameters = load_vehicle("crazyflie")
        self._loops, self._model = InnerLoops.of(parameters), QuadrotorDynamics(parameters, DT)
        self._k = float(parameters.gains.attitude[0])
        self._lag = 1.0 / float(parameters.gains.rate[0]) + RESPONSE_TIME + 0.5 * DT
        self._drag = float(parameters.drag[0]) / float(parameters.mass)
        self._mass = float(parameters.mass)
        self._max_rate = float(parameters.limits.body_rate[0])
        self._pair = Pair(
            crossing.distance, _MARGIN + (crossing.deceleration + crossing.push) * self._lag**2,
            2.0 * crossing.deceleration, 2.0 * crossing.push, _RATE, self._k, self._lag,
        )  # fmt: skip
        batch = len(seeds)
        self.x = np.zeros((batch, n, 17))
        starts = [start_of(seed, crossing) for seed in np.asarray(seeds).tolist()]
        self.goal, self._speed = np.stack([start.goal for start in starts]), np.stack([s.speed for s in starts])
        self._disturbance = np.zeros((batch, n, 9))
        self._disturbance[..., 3:5] = self._mass * np.stack([start.push for start in starts])
        self.x[..., 0:2] = np.stack([start.place for start in starts])
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
        apart, motion = _relative(p_ahead, self._others), _relative(v_ahead, self._others)
        n, length = directions(apart)
        seen = look(p_ahead, v_ahead, self.goal, -apart, -motion)
        gains = np.stack([np.full(length.shape, self._hardest), np.clip(policy(seen), LOWEST, self._hardest)])
        limits = 0.5 * pair_limits(n, length, motion, _relative(a_ahead, self._others), gains, self._pair)
        limits = np.where(length < self.c.sight, limits, _UNSEEN)
        flat = nearest(wanted[..., 0:2], n, limits.min(axis=0), self.c.strongest)
        for raised in _RAISED:
            left = np.isnan(flat[..., 0])
            if not left.any():
                break
            flat[left] = nearest(wanted[..., 0:2][left], n[left], limits[0][left] + raised, self.c.strongest)
        flat = np.where(np.isfinite(flat), flat, 0.0)
        return np.concatenate([flat, wanted[..., 2:3]], axis=-1)

    def _wanted(self, p: Array, v: Array) -> Array:
        """Straight to the goal at the wanted speed, slower close to it, at constant height."""
        aim = 3.0 * (wanted_velocity(self.goal - p[..., 0:2], self._speed) - v[..., 0:2])
        size = np.linalg.norm(aim, axis=-1, keepdims=True)
        aim = aim * np.minimum(1.0, 4.0 / np.maximum(size, 1e-9))
        up = 12.0 * (1.0 - p[..., 2:3]) - 6.0 * v[..., 2:3] + GRAVITY
        return np.concatenate([aim, np.clip(up, 6.0, 14.0)], axis=-1)


def _relative(each: Array, others: Array) -> Array:
    """(B, n, m, 2): of each vehicle, minus that of every other."""
    return np.asarray(each[:, :, None] - each[:, others])


def nearest(wanted: Array, rows: Array, limits: Array, strongest: float) -> Array:
    """(..., 2) argmin |f - wanted| over rows f <= limits and |f| <= strongest, among the corners of the polygon.

    Args:
        wanted: (..., 2). rows: (..., m, 2) of unit length. limits: (..., m).

    Returns:
        NaN where there is none. The bound on |f| is only checked, not a row.
    """
    found = np.full(wanted.shape, np.nan)
    free = ((rows * wanted[..., None, :]).sum(-1) <= limits + 1e-6).all(-1)
    free &= (wanted * wanted).sum(-1) <= strongest**2
    found[free] = wanted[free]
    left = ~free
    if not left.any():
        return found
    wanted, limits = wanted[left], limits[left].T
    x, y = np.ascontiguousarray(rows[left].transpose(2, 1, 0))  # (m, k) each, the many last
    pairs = np.array(list(combinations(range(len(x)), 2)), dtype=int).reshape(-1, 2).T
    excess = x * wanted[:, 0] + y * wanted[:, 1] - limits
    rx, sx, ry, sy, b, c = x[pairs[0]], x[pairs[1]], y[pairs[0]], y[pairs[1]], limits[pairs[0]], limits[pairs[1]]
    det = rx * sy - ry * sx
    safe = np.where(np.abs(det) < 1e-6, np.nan, det)
    u = np.concatenate([wanted[None, :, 0] - excess * x, (b * sy - c * ry) / safe])
    v = np.concatenate([wanted[None, :, 1] - excess * y, (c * rx - b * sx) / safe])
    far = (u - wanted[:, 0]) ** 2 + (v - wanted[:, 1]) ** 2
    with np.errstate(invalid="ignore"):
        keeps = u * u + v * v <= strongest**2
        for row in range(len(x)):
            keeps &= x[row] * u + y[row] * v <= limits[row] + 1e-6
    far = np.where(keeps, far, np.inf)
    best, each = far.argmin(axis=0), np.arange(far.shape[1])
    nearest_ones = np.stack([u[best, each], v[best, each]], axis=-1)
    found[left] = np.where(keeps.any(axis=0)[:, None], nearest_ones, np.nan)
    return found

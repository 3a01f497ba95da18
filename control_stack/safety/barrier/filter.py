"""The filter: a controller's command as it is where it is safe, else the nearest that is, else a brake.

Every command is read as the thrust vector F that it turns to (``thrust.py``). Rows n.F <= limit keep the vehicle off
walls, obstacles and other vehicles and below its speed (``approach.py``), and a cone keeps its tilt. A command whose F
keeps them all is passed on as it is, bit for bit. Otherwise F is projected (``projection.py``), with what the motors
can do as further rows, and written back at the level of the command. Where nothing keeps all rows the vehicle brakes
against its velocity and then holds its place, until something does; never is the command that came in flown then.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

import numpy as np

from control_stack.boundary import check_command
from control_stack.errors import IncompatibleLevels, InputRejected, InvalidInput
from control_stack.laws.position import specific_force, tracking_acceleration
from control_stack.quadrotor.parameters import GRAVITY, QuadrotorParameters
from control_stack.safety.barrier.approach import Seen, Surfaces, thrust_limits
from control_stack.safety.barrier.pairs import HIGHEST, LOWEST, Pair, directions, pair_limits
from control_stack.safety.barrier.projection import TOLERANCE, project, require_solver
from control_stack.safety.barrier.scene import Scene, load_scene
from control_stack.safety.barrier.thrust import LEVELS, Outlook, ThrustVector
from control_stack.types import Array, Command, CommandLevel, QuadrotorState

_SIDES = 16  # of the pyramid inside the cone of tilt
_SLOW = 0.3  # m/s, at which braking becomes holding
HALF = 0.5  # of the top speed, below which the row of the speed cannot matter
_NOTE = "a filter changes the thrust vector, and loops on board close it at the levels velocity and position"


class Answer(str, Enum):
    """What became of a command."""

    UNCHANGED = "unchanged"
    CHANGED = "changed"
    FALLBACK = "fallback"


@dataclass(frozen=True)
class Others:
    """Further vehicles.

    Attributes:
        position, velocity, acceleration: (k, 3) m, m/s, m/s^2; the last is ``acceleration`` of their filters.
        distance: Between centres, m.
        share: Of the braking, that this vehicle takes: 0.5 where the others run the same filter, 1 where they do not.
        gains: (k,) 1/s, asked for against each (``crossing/gains.py`` has a network that does): they can only make
            this vehicle give way earlier, the distance is kept by the scene's gain; None: by that alone.
        horizontal: The distance is kept seen from above, at any height: below a vehicle is its downwash.
    """

    position: Array
    velocity: Array
    acceleration: Array
    distance: float
    share: float = 0.5
    gains: Array | None = None
    horizontal: bool = False


class SafetyFilter:
    """Guards one vehicle in one scene. Call it once a period with the state and the controller's command.

    Attributes:
        radius: Of the ball about the vehicle, m. unknown: Acceleration that no model knows, m/s^2.
        least_unknown: As the scene says; ``widen`` makes it more.
        answer: What became of the last command.
        counts: Of answers since the last ``clear``.
        gains: kappa and lambda in force; may be set between calls.
        seen: Surfaces of the scene from a place. thrust: What commands are read and written by.
        speed: Never to be exceeded, m/s. slope: Tangent of the largest tilt.
        acceleration: (3,) that the thrust vector in force gives, m/s^2: what another vehicle's ``Others`` takes.
    """

    def __init__(self, scene: Scene, parameters: QuadrotorParameters, rate_hz: float = 100.0):
        """Raises InvalidInput where the vehicle cannot brake as the scene counts on, or its margin is another's."""
        limits, margin = parameters.limits, scene.margin
        if margin.vehicle is not None and margin.vehicle != parameters.name:
            raise InvalidInput(
                f"scene {scene.name}: margin: model was measured with '{margin.vehicle}', not with '{parameters.name}'"
            )
        self.scene, self._parameters = scene, parameters
        self.thrust = ThrustVector(parameters, rate_hz)
        half = 0.5 * float(np.linalg.norm(parameters.body_size))
        self.radius = half if margin.radius is None else margin.radius
        self.unknown = margin.wind * float(np.max(parameters.drag)) / float(parameters.mass) + margin.model
        self.speed = min(scene.bounds.speed or math.inf, limits.speed)
        self._tilt = min(scene.bounds.tilt or math.inf, limits.tilt)
        self._deceleration = scene.bounds.acceleration or limits.acceleration
        self._check_braking()
        self.least_unknown, self._bearable = self.unknown, self._most_unknown()
        self.gains = (scene.gains.distance, scene.gains.speed)
        # Towards what is round, the vehicle follows its outlook on the inside of the bend.
        self.room = margin.distance + 0.5 * (self._deceleration + self.unknown) * self.thrust.lag**2
        self.seen = Seen(scene, self.radius, self.room)
        self.slope = math.tan(self._tilt)
        self._farthest = self.thrust.most * math.sqrt(1.0 + 2.0 * self.thrust.steepest**2)
        turn = 2.0 * np.pi * (np.arange(_SIDES) + 0.5) / _SIDES
        inner = self.slope * math.cos(math.pi / _SIDES)
        self._cone = np.column_stack([np.cos(turn), np.sin(turn), np.full(_SIDES, -inner)])
        self.counts = dict.fromkeys(Answer, 0)
        self.reset()

    def reset(self) -> None:
        """Forgets the flight; counts stay."""
        self.thrust.reset()
        self.unknown = self.least_unknown
        self._anchor: Array | None = None
        self.answer, self.acceleration = Answer.UNCHANGED, np.zeros(3)

    def clear(self) -> None:
        """Counts from zero."""
        self.counts = dict.fromkeys(Answer, 0)

    def widen(self, unknown: float) -> None:
        """From the next call on counts on this unknown acceleration (m/s^2) where the scene says less, but on no more
        than the vehicle can brake against. ``reset`` ends it. The room kept for lags stays as it is."""
        self.unknown = min(max(unknown, self.least_unknown), self._bearable)

    def check_levels(self, levels: Sequence[CommandLevel], name: str) -> None:
        """Raises IncompatibleLevels for a controller that emits a level which cannot be guarded."""
        for level in levels:
            if level not in LEVELS:
                guarded = [v.value for v in LEVELS]
                raise IncompatibleLevels(name, [level.value], f"filter of scene {self.scene.name}", guarded, _NOTE)

    def check_start(self, position_w: Array, what: str) -> None:
        """Raises InvalidInput where a flight would begin outside the scene."""
        self.scene.check_inside(position_w, self.radius, what)

    def __call__(self, state: QuadrotorState, command: Command, others: Others | None = None) -> Command:
        """The command to fly.

        Raises:
            InputRejected: "level" for one that cannot be guarded, or as ``check_command``; "nan" for a state.
        """
        check_command(command)
        if command.level not in LEVELS:
            raise InputRejected("level", f"'{command.level.value}' cannot be guarded: {_NOTE}")
        if not state.is_finite():
            raise InputRejected("nan", "state")
        if others is not None:
            _check(others)
        outlook = self.thrust.look(state)
        self.acceleration = outlook.acceleration
        wanted = self.thrust.read(command, outlook)
        rows, limits = self.rows(outlook, others)
        if self._admits(wanted, rows, limits, outlook.body[2]):
            flown, self.answer, self._anchor = command, Answer.UNCHANGED, None
        else:
            found = self._nearest(wanted, rows, limits, outlook)
            if found is None and others is not None and others.gains is not None:
                # What is only asked for never makes it brake.
                found = self._nearest(wanted, *self.rows(outlook, replace(others, gains=None)), outlook)
            flown = self._changed(found, command, outlook)
        self.counts[self.answer] += 1
        self.thrust.sent(flown, outlook)
        return flown

    def rows(self, outlook: Outlook, others: Others | None = None) -> tuple[Array, Array]:
        """(m, 3) and (m,): rows . F <= limits for walls, obstacles, other vehicles and the speed, in this order."""
        surfaces = self.seen(outlook.position)
        rows = [surfaces.towards]
        limits = [
            self.surface_limits(surfaces, outlook.velocity, outlook.acceleration, outlook.without_thrust, self.unknown)
        ]
        if others is not None and len(others.position):
            towards, limit = self._keep_apart(outlook, others)
            rows.append(towards)
            limits.append(limit)
        speed = float(np.linalg.norm(outlook.velocity))
        if speed > HALF * self.speed:
            n = outlook.velocity / speed
            rows.append(n[None])
            limits.append(self.speed_limits(n[None], speed, outlook.acceleration, outlook.without_thrust, self.unknown))
        return np.concatenate(rows), np.concatenate(limits)

    def surface_limits(self, surfaces: Surfaces, v: Array, a: Array, without_thrust: Array, unknown: float) -> Array:
        """``thrust_limits`` with the gains in force and what this vehicle can do."""
        gain, rate = self.gains
        return thrust_limits(
            surfaces, v, a, without_thrust, gain=gain, rate=rate, lag_rate=self.thrust.lag_rate,
            deceleration=self._deceleration, unknown=unknown, unknown_speed=unknown * self.thrust.lag,
        )  # fmt: skip

    def _keep_apart(self, outlook: Outlook, others: Others) -> tuple[Array, Array]:
        """Rows against other vehicles. With both at the same, n.F_i - n.F_j <= limit of the two together is split."""
        lag, (gain, rate) = self.thrust.lag, self.gains
        seen = np.array([1.0, 1.0, 0.0 if others.horizontal else 1.0])
        apart = (outlook.position - (others.position + lag * others.velocity)) * seen
        motion = (outlook.velocity - (others.velocity + lag * others.acceleration)) * seen
        n, length = directions(apart)
        gains = np.full((1, len(n)), gain)
        if others.gains is not None:
            gains = np.stack([gains[0], np.clip(others.gains, LOWEST, HIGHEST)])
        # Half of the unknown acceleration of the pair is this vehicle's own, the rest the other's.
        pair = Pair(
            others.distance, 2.0 * self.room, self._deceleration, 2.0 * self.unknown, rate, self.thrust.lag_rate, lag
        )
        relative = (outlook.acceleration - others.acceleration) * seen
        both = pair_limits(n, length, motion, relative, gains, pair).min(axis=0)
        theirs = (2.0 * others.share - 1.0) * (n * others.acceleration).sum(-1)
        return n, others.share * both - n @ outlook.without_thrust + theirs

    def speed_limits(self, n: Array, speed: Any, a: Array, without_thrust: Array, unknown: float) -> Array:
        """(...) the limit of n.F, n (..., 3) along the velocity of size ``speed``, that keeps |v| below its bound.

        A barrier of one order less than that of a surface; a, without_thrust (..., 3).
        """
        rate = self.gains[1]
        along = (n * a).sum(-1)
        aside = a - along[..., None] * n
        drift = -(aside * aside).sum(-1) / speed - rate * (along + unknown)
        left = rate * (self.speed - speed - unknown * self.thrust.lag) - unknown - (n * without_thrust).sum(-1)
        return np.asarray(left + np.minimum(drift, 0.0) / self.thrust.lag_rate)

    def _admits(self, force: Array, rows: Array, limits: Array, up: Array) -> bool:
        """Also whether the motors, with the thrust along the body's z axis ``up``, can turn the body in time."""
        if float(up @ force) < self.thrust.lowest - TOLERANCE:
            return False
        level = self.slope * force[2] - math.hypot(force[0], force[1])
        return bool(level >= -TOLERANCE and (rows @ force - limits <= TOLERANCE).all())

    def _nearest(self, wanted: Array, rows: Array, limits: Array, outlook: Outlook) -> Array | None:
        """The thrust vector to fly instead of the wanted one; None where none keeps all rows."""
        able, most = self._able(outlook)
        near = limits < self._farthest  # no thrust vector that the motors give could break the others
        return project(wanted, np.concatenate([rows[near], able]), np.concatenate([limits[near], most])).vector

    def _able(self, outlook: Outlook) -> tuple[Array, Array]:
        """Rows and limits of the thrust vectors within tilt and what motors and body rates can do."""
        thrust = self.thrust
        x, y, z = outlook.body
        ends = np.array([thrust.most, -thrust.lowest, *(thrust.farthest_aside,) * 4])
        rows = np.concatenate([self._cone, np.stack([z, -z, x, -x, y, -y])])
        return rows, np.concatenate([np.zeros(_SIDES), ends])

    def _changed(self, found: Array | None, command: Command, outlook: Outlook) -> Command:
        """The command for a thrust vector, or the brake where there is none."""
        if found is not None:
            self.answer, self._anchor = Answer.CHANGED, None
            return self.thrust.write(found, command, outlook)
        self.answer = Answer.FALLBACK
        brake = self._brake(outlook)
        nearest = project(brake, *self._able(outlook)).vector
        return self.thrust.write(brake if nearest is None else nearest, command, outlook)

    def _brake(self, outlook: Outlook) -> Array:
        """The thrust vector that stops the vehicle and then holds it where it has become slow."""
        gains, p, v = self._parameters.gains, outlook.position, outlook.velocity
        if self._anchor is None and float(np.linalg.norm(v)) < _SLOW:
            self._anchor = p
        error = np.zeros(3) if self._anchor is None else self._anchor - p
        back = tracking_acceleration(tuple(error), tuple(-v), (0.0, 0.0, 0.0), gains.position, gains.velocity)
        return np.array(specific_force(back, self.slope, self.thrust.most))

    def _check_braking(self) -> None:
        thrust, needed = self.thrust, self._deceleration + self.unknown
        room = {
            "sideways": math.tan(self._tilt) * GRAVITY,
            "upwards": math.sqrt(max(thrust.most**2 - needed**2, 0.0)) - GRAVITY,  # while it brakes sideways too
            "downwards": GRAVITY - thrust.least,
        }
        where = min(room, key=lambda way: room[way])
        if needed > room[where]:
            raise InvalidInput(
                f"scene {self.scene.name}: {self._parameters.name} accelerates {where} by at most "
                f"{room[where]:.2f} m/s^2 within its tilt and thrust, but "
                f"braking takes {self._deceleration:.2f} m/s^2 and what is unknown "
                f"{self.unknown:.2f} m/s^2: lower limits: acceleration, or the margin"
            )

    def _most_unknown(self) -> float:
        """The unknown acceleration at which ``_check_braking`` would just pass, m/s^2."""
        thrust = self.thrust
        # sqrt(most^2 - n^2) - g = n
        upwards = 0.5 * (math.sqrt(2.0 * thrust.most**2 - GRAVITY**2) - GRAVITY)
        return min(math.tan(self._tilt) * GRAVITY, upwards, GRAVITY - thrust.least) - self._deceleration


def _check(others: Others) -> None:
    """Raises InputRejected for sizes that do not agree and for numbers that are none."""
    k = len(others.position)
    parts = {"position": (k, 3), "velocity": (k, 3), "acceleration": (k, 3), "gains": (k,)}
    for name, shape in parts.items():
        value = getattr(others, name)
        if value is None and name == "gains":
            continue
        if np.shape(value) != shape:
            raise InputRejected("shape", f"{name} of other vehicles must be {shape}, is {np.shape(value)}")
        if not np.isfinite(value).all():
            raise InputRejected("nan", f"{name} of other vehicles")


def build_filter(path: str | None, parameters: QuadrotorParameters, rate_hz: float) -> SafetyFilter | None:
    """The filter of a scene file; None without one. Raises as ``load_scene``, InvalidInput and MissingDependency."""
    if path is None:
        return None
    require_solver()
    return SafetyFilter(load_scene(path), parameters, rate_hz)

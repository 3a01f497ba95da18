"""What the tasks with a pusher share: layout of the state, limits, stepping.

State: the pusher's position in the world, then every keypoint relative to the pusher, in world axes; m. Input: the
pusher's velocity in the world, m/s, held over a step. Outputs: the keypoints in the world, which is what goals are
about.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np

from control_stack.errors import InvalidInput
from control_stack.learning.spec import Goal, TaskSpec
from control_stack.types import Array
from sim.tasks.world import Bodies, PushedWorld

DT = 0.1  # s
HALF = 0.3  # m: the pusher stays within +-HALF in x and y
SPEED = 0.3  # m/s in each axis: 3 cm a step, a third of an object
_TOLERANCE = 0.005  # m: keypoints further from any possible object are refused


def planar_spec(task: str, keypoints: tuple[str, ...], reach: float) -> TaskSpec:
    """Layout of a task with a pusher; ``reach`` (m) is how far a keypoint can get from what the pusher touches."""
    count = len(keypoints)
    outputs = np.hstack([np.tile(np.eye(2), (count, 1)), np.eye(2 * count)])
    far = np.full(2 * count, 2.0 * HALF + reach)
    lower = np.concatenate([[-HALF, -HALF], -far])
    axes = [f"{point}.{axis}" for point in keypoints for axis in "xy"]
    return TaskSpec(
        state=("pusher.x [m]", "pusher.y [m]", *(f"{axis} - pusher [m]" for axis in axes)),
        inputs=("pusher.vx [m/s]", "pusher.vy [m/s]"),
        parameters=(),
        defaults=np.zeros(0),
        dt=DT,
        task=task,
        keypoints=keypoints,
        state_lower=lower,
        state_upper=-lower,
        input_lower=np.full(2, -SPEED),
        input_upper=np.full(2, SPEED),
        output_names=tuple(f"{axis} [m]" for axis in axes),
        outputs=outputs,
        weights=np.full(2 * count, 1.0 / count),  # 1/m: the mean over keypoints of |x| + |y| distances
        workspace=((-HALF, HALF), (-HALF, HALF)),
    )


class PlanarTask(ABC):
    """A pusher and bodies whose keypoints tell where they are."""

    frames = "world: x, y in the plane of the table; the pusher's position, and keypoints relative to it in world axes"

    def __init__(self, spec: TaskSpec):
        self.spec = spec
        self._world = PushedWorld(spec.dt)
        self._bodies = self._build(self._world)
        self._state: Array | None = None
        self.applied = np.zeros(2)
        self.contact = False

    @abstractmethod
    def _build(self, world: PushedWorld) -> Bodies:
        """Adds the bodies to the world."""

    @abstractmethod
    def _configuration(self, points: Array) -> Array:
        """Of the bodies with keypoints (K, 2) in the world."""

    @abstractmethod
    def points(self, configuration: Array) -> Array:
        """Keypoints (K, 2) in the world, m."""

    @abstractmethod
    def _draw(self, rng: np.random.Generator) -> tuple[Array, Array]:
        """A start: pusher (2,) and configuration."""

    @abstractmethod
    def outlines(self, points: Array) -> list[Array]:
        """Curves (M, 2) of the bodies with keypoints (K, 2) in the world, for a picture."""

    @abstractmethod
    def goal(self, seed: int) -> Goal:
        """Draws a goal for the start of the same seed."""

    @property
    def state(self) -> Array:
        """(nx,) now. Raises InvalidInput before ``reset`` or ``set_state``."""
        if self._state is None:
            raise InvalidInput(f"{self.spec.task} has no state yet: reset it")
        return self._state.copy()

    def reset(self, seed: int) -> Array:
        """Draws a start in which nothing touches; equal seeds give equal starts."""
        self._state = self._vector(*self._draw(np.random.default_rng((seed, 0))))
        return self.state

    def set_state(self, x: Array) -> Array:
        """Goes to a state; keypoints up to 5 mm off a possible object are moved onto the nearest.

        Raises:
            InvalidInput: Wrong size, not finite, pusher outside the workspace, keypoints that are no such object.
        """
        x = self.spec.check_state(x)
        pusher, points = x[:2], world_keypoints(x)
        for k in np.flatnonzero(np.abs(pusher) > HALF + 1e-9)[:1]:
            raise InvalidInput(f"{self.spec.state[k]} = {pusher[k]:.4g} is outside the workspace, +-{HALF}")
        fitted = self.points(self._configuration(points))
        off = np.linalg.norm(fitted - points, axis=1)
        if off.max() > _TOLERANCE:
            worst = self.spec.keypoints[int(off.argmax())]
            raise InvalidInput(f"keypoints are not those of {self.spec.task}: {worst} is {1e3 * off.max():.1f} mm off")
        # What a task gave itself is kept to the bit, so that a copy goes on as the original does.
        self._state = x.copy() if off.max() < 1e-9 else np.concatenate([pusher, (fitted - pusher).ravel()])
        return self.state

    def step(self, u: Array) -> Array:
        """Moves the pusher with velocity u (2,), limited in speed and to the workspace, for ``spec.dt``."""
        x, wanted = self.state, self.spec.limited(u)
        pusher = x[:2]
        target = np.clip(pusher + self.spec.dt * wanted, -HALF, HALF)
        self.applied = np.where(
            np.abs(pusher + self.spec.dt * wanted) <= HALF, wanted, (target - pusher) / self.spec.dt
        )
        before = self._configuration(world_keypoints(x))
        after, self.contact = self._world.advance(self._bodies, before, pusher, self.applied)
        # What nothing touched is where it was, to the bit.
        self._state = np.concatenate([target, (world_keypoints(x) - target).ravel()])
        if self.contact:
            self._state = self._vector(target, after)
        return self.state

    def close(self) -> None:
        """Ends Bullet's client."""
        self._world.close()

    def _vector(self, pusher: Array, configuration: Array) -> Array:
        return np.concatenate([pusher, (self.points(configuration) - pusher).ravel()])


def world_keypoints(x: Array) -> Array:
    """Keypoints (..., K, 2) in the world, m, of a planar task's state (..., nx)."""
    relative = x[..., 2:].reshape(*x.shape[:-1], -1, 2)
    return relative + x[..., None, :2]

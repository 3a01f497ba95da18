"""A task in closed loop: its goal, its time, when a command acts, and the log."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from control_stack.artefacts.log import FlightLog
from control_stack.errors import InvalidInput, UnknownName
from control_stack.learning.spec import Goal
from control_stack.ros_layout import COMMAND_TOPIC
from control_stack.types import Array
from sim.tasks.pushing import PushingTask
from sim.tasks.task import Task

FRAME = "map"
INPUTS = "inputs"  # frame_id of a command: its names are the task's inputs
DELAYS = ("none", "fixed", "measured")


@dataclass(frozen=True)
class StepDelay:
    """When a command computed from the state at t acts, in whole steps.

    Attributes:
        kind: "none" at t; "fixed" one step later; "measured" after as many steps as it took to compute, at least one.
    """

    kind: str = "none"

    def __post_init__(self) -> None:
        if self.kind not in DELAYS:
            raise UnknownName("compute delay", self.kind, DELAYS)

    def steps(self, waited: float, dt: float) -> int:
        """Steps before a command acts that came ``waited`` s of wall time after its state."""
        if self.kind == "measured":
            return max(math.ceil(waited / dt - 1e-9), 1)
        return int(self.kind == "fixed")


class ClosedLoop:
    """Holds the state until a command answers it, then goes on.

    Attributes:
        steps: After how many it is over.
        period: Of a step, s.
        taken: Steps so far. missed: Answers without a command.
    """

    def __init__(self, task: Task, goal: Goal, steps: int, delay: StepDelay, log: FlightLog | None = None):
        self.task, self.goal, self.steps, self._delay, self._log = task, goal, steps, delay, log
        self.period = task.spec.dt
        self.taken = self.missed = 0
        self._current = np.zeros(len(task.spec.inputs))
        self._note_goal()
        self._note_state()

    @property
    def t(self) -> float:
        """Simulated time, s."""
        return self.taken * self.period

    @property
    def over(self) -> bool:
        """Whether all steps are taken."""
        return self.taken >= self.steps

    def answer(self, u: Array | None, waited: float = 0.0) -> None:
        """Takes the command for the present state; see ``StepDelay`` for when it acts.

        Args:
            u: (nu,); None: there is none, and the pusher stands.
            waited: Wall time since the state was given, s.
        """
        self.missed += u is None
        wanted = np.zeros(len(self.task.spec.inputs)) if u is None else np.asarray(u, dtype=float)
        late = self._delay.steps(waited, self.period)
        if not late:
            self._current = wanted
        for _ in range(max(late, 1)):
            if not self.over:
                self._step()
        self._current = wanted

    def planned(self, t: float, values: Mapping[str, str]) -> None:
        """Logs how the plan for the state of time t came out."""
        if self._log is not None:
            self._log.status(t, "planner", values)

    def _step(self) -> None:
        at = self.t
        self.task.step(self._current)
        if self._log is not None:
            self._log.joints(COMMAND_TOPIC, at, self.task.spec.inputs, velocity=self.task.applied, frame=INPUTS)
        self.taken += 1
        self._note_state()

    def _note_state(self) -> None:
        if self._log is not None:
            self._log.joints("joint_states", self.t, self.task.spec.state, position=self.task.state, frame=FRAME)

    def _note_goal(self) -> None:
        if self._log is not None:
            names, values = goal_entries(self.task.spec.output_names, self.goal)
            self._log.joints("goal", 0.0, names, position=values, frame=FRAME)


def goal_entries(outputs: tuple[str, ...], goal: Goal) -> tuple[list[str], Array]:
    """A goal as named values: each output's target, and as NAME:half_width and NAME:free its widths."""
    names = [*outputs, *(f"{name}:half_width" for name in outputs), *(f"{name}:free" for name in outputs)]
    return names, np.concatenate([goal.target, goal.half_width, goal.free])


def chosen_goal(task: Task, text: str, seed: int) -> Goal:
    """The goal of a text "x,y" or "x,y,angle" (m, m, rad), or the task's own of the seed for an empty one.

    Raises:
        InvalidInput: Not such a text, a task whose goal is no pose, or a goal outside the workspace.
    """
    own = task.goal(seed)
    if not text:
        return own
    if not isinstance(task, PushingTask):
        raise InvalidInput(f"a goal x,y,angle is for pushing one object, {task.spec.task} draws its own: leave it out")
    try:
        pose = [float(part) for part in text.split(",")]
    except ValueError:
        pose = []
    if len(pose) not in (2, 3) or not np.isfinite(pose).all():
        raise InvalidInput(f"a goal is x,y or x,y,angle in m and rad, got '{text}'")
    target = task.points(np.array([*pose, 0.0][:3])[None]).ravel()
    return task.spec.check_goal(Goal(target, own.half_width, own.free))

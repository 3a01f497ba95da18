"""An arm in closed loop: its reference and its time, loads that change on the way, when a command acts, and the log."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import cast

import numpy as np

from control_stack.arm.changes import LoadChange
from control_stack.arm.draws import Kind, draw_reference
from control_stack.arm.load import LOAD_NAMES, NO_LOAD, Load
from control_stack.arm.parameters import ArmParameters
from control_stack.arm.sampled import SampledJoints
from control_stack.artefacts.log import FlightLog
from control_stack.errors import InputRejected
from control_stack.flight.advance import ComputeDelay
from control_stack.protocols import JointTrajectory
from control_stack.ros_layout import COMMAND_TOPIC
from control_stack.types import ArmState, CommandLevel, JointCommand
from sim.arm.bullet import BulletArm
from sim.arm.config import TYPICAL_SENSORS, ArmSensorConfig, ArmSimulationConfig

FRAME = "base_link"
INPUTS = CommandLevel.JOINTS.value


def simulation(seed: int, sensors: str, friction: float) -> ArmSimulationConfig:
    """The simulation of a run. sensors: "typical" or "none". friction: factor on the arm's own."""
    noise = TYPICAL_SENSORS if sensors == "typical" else ArmSensorConfig()
    return ArmSimulationConfig(seed=seed, sensors=noise, friction=friction)


def delay_of(kind: str, period: float) -> ComputeDelay:
    """The compute delay of a run; a fixed one is a period."""
    return ComputeDelay(kind, period)


def start_reference(
    arm: ArmParameters, kind: str, seed: int, duration: float, changes: Sequence[LoadChange]
) -> SampledJoints:
    """The reference of a seed that the arm can follow with each of the loads, sampled as it travels over ROS."""
    loads = tuple({id(change.load): change.load for change in changes}.values()) or (NO_LOAD,)
    return SampledJoints.of(draw_reference(arm, seed, cast(Kind, kind), loads, duration))


class ArmLoop:
    """Holds the state until a command answers it, then goes on by a control period.

    Attributes:
        arm: Connected; it is armed and put at the reference's start, holding the load of time 0, when the loop is made.
        taken: Periods so far. total: After how many it is over.
        missed: Periods without a command, in which the brakes held the arm.
    """

    def __init__(
        self,
        arm: BulletArm,
        reference: JointTrajectory,
        changes: Sequence[LoadChange],
        delay: ComputeDelay,
        log: FlightLog | None = None,
    ):
        self.arm, self.reference, self._delay, self._log = arm, reference, delay, log
        self._changes = sorted(changes, key=lambda change: change.t)
        self.period = 1.0 / arm.spec.rate_hz
        self.total = math.ceil(reference.duration / self.period - 1e-9)
        self.taken = self.missed = 0
        start = reference(0.0)
        arm.reset(ArmState(start.position, start.velocity))
        arm.arm()
        self._change_load()
        self._note_reference()
        self._note_state()

    @property
    def t(self) -> float:
        """Simulated time, s."""
        return self.taken * self.period

    @property
    def over(self) -> bool:
        """Whether the reference is at its end."""
        return self.taken >= self.total

    def answer(self, command: JointCommand | None, waited: float = 0.0) -> None:
        """Takes the command for the present state and goes on by a period.

        Args:
            command: None: there is none, and the brakes hold the arm.
            waited: Wall time since the state was given, s, for a measured delay; one longer than a period is cut there.

        Raises:
            InputRejected: The arm does not take the command; nothing has happened yet.
        """
        if command is not None and np.shape(command.effort) != (self.arm.parameters.joints,):
            raise InputRejected("shape", f"effort of shape {np.shape(command.effort)}")
        if command is not None and not np.isfinite(command.effort).all():
            raise InputRejected("nan", "effort")
        steps = round(self.period / self.arm.physics_dt)
        early = 0
        if command is None:
            self.missed += 1
            self.arm.disarm()
            self.arm.arm()
        else:
            early = min(math.ceil(self._delay.seconds(waited) / self.arm.physics_dt - 1e-9), steps)
        acting = command
        if early:  # what was commanded before acts until then
            self.arm.step(early * self.arm.physics_dt)
        if command is not None:
            acting = self.arm.send(command)
        if early < steps:
            self.arm.step((steps - early) * self.arm.physics_dt)
        if self._log is not None and acting is not None:
            at = self.t + early * self.arm.physics_dt
            names = self.arm.parameters.joint_names
            self._log.joints(COMMAND_TOPIC, at, names, effort=acting.effort, frame=INPUTS)
        self.taken += 1
        self._change_load()
        self._note_reference()
        self._note_state()

    def computed(self, t: float, values: Mapping[str, str]) -> None:
        """Logs how the command for the state of time t came out."""
        if self._log is not None:
            self._log.status(t, "controller", values)

    def _change_load(self) -> None:
        while self._changes and self._changes[0].t <= self.t + 1e-9:
            load = self._changes.pop(0).load
            self.arm.attach(load)
            self._note_load(load)
        if self.taken == 0 and self.arm.load is NO_LOAD:
            self._note_load(NO_LOAD)

    def _note_load(self, load: Load) -> None:
        if self._log is not None:
            self._log.joints("load", self.t, LOAD_NAMES, position=load.parameters, frame="flange")

    def _note_reference(self) -> None:
        if self._log is not None:
            now = self.reference(self.t)
            names = self.arm.parameters.joint_names
            self._log.joints("reference", self.t, names, now.position, now.velocity, frame=FRAME)

    def _note_state(self) -> None:
        if self._log is None:
            return
        names = self.arm.parameters.joint_names
        for topic, state in (("joint_states", self.arm.state()), ("ground_truth", self.arm.true_state())):
            effort = np.zeros(len(names)) if state.effort is None else state.effort
            self._log.joints(topic, self.t, names, state.position, state.velocity, effort, frame=FRAME)

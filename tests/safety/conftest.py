"""A supervisor without a vehicle: the test says what the state is and reads what would be sent."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from control_stack.algebra import quat_from_yaw
from control_stack.quadrotor.parameters import load_vehicle
from control_stack.safety.events import Phase
from control_stack.safety.supervisor import SafetyConfig, Supervisor
from control_stack.types import Command, PositionCommand, QuadrotorState, RotorCommand

DT = 0.01
HOVER = RotorCommand(np.full(4, 1700.0))


class Bench:
    """Steps a supervisor; ``state`` follows the supervisor's own position commands at once unless it is
    frozen.

    Attributes:
        sent: What the last update said.
        names: Events so far.
    """

    def __init__(self, config: SafetyConfig | None = None, yaw: float = 0.0):
        self.supervisor = Supervisor(load_vehicle("crazyflie"), config or SafetyConfig())
        self.t = 0.0
        quat = np.array(quat_from_yaw(yaw))
        self.state = QuadrotorState(np.zeros(3), np.zeros(3), quat, np.zeros(3))
        self.frozen = False
        self.sent: Command | None = None
        self.names: list[str] = []

    @property
    def phase(self) -> Phase:
        return self.supervisor.phase

    def step(self, seconds: float = DT, command: Command | None = None) -> Command | None:
        """Periods in each of which the command, if any, arrives first."""
        for _ in range(round(seconds / DT)):
            if command is not None:
                self.supervisor.command(self.t, command)
            if not self.frozen:
                self.state = replace(self.state, stamp=self.t)
            self.sent = self.supervisor.update(self.t, self.state)
            self.names += [event.name for event in self.supervisor.drain_events()]
            if isinstance(self.sent, PositionCommand) and not self.frozen:
                height = max(float(self.sent.position_w[2]), 0.0)
                moving = self.sent.velocity_w if height > 0.0 else np.zeros(3)
                place = np.array([*self.sent.position_w[:2], height])
                self.state = replace(self.state, position_w=place, velocity_w=moving)
            self.t += DT
        return self.sent

    def take_off(self) -> None:
        self.step()
        assert self.supervisor.arm(self.t, self.state).accepted
        assert self.supervisor.takeoff(self.t, self.state).accepted
        while self.phase is not Phase.FLYING:
            assert self.t < 10.0
            self.step(command=HOVER)

    def to(self, phase: Phase) -> None:
        """Brings a new bench to a phase."""
        if phase is Phase.DISARMED:
            self.step()
        elif phase is Phase.ARMED:
            self.step()
            self.supervisor.arm(self.t, self.state)
        elif phase is Phase.TAKEOFF:
            self.to(Phase.ARMED)
            self.supervisor.takeoff(self.t, self.state)
            self.step(0.5)
        else:
            self.take_off()
            if phase is Phase.HOLD:
                self.step(0.2)
            elif phase is Phase.LANDING:
                self.supervisor.land(self.t, self.state)
            elif phase is Phase.EMERGENCY:
                self.supervisor.emergency(self.t)
        assert self.phase is phase


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.fixture(params=list(Phase), ids=lambda phase: phase.value)
def phase(request: pytest.FixtureRequest) -> Phase:
    return request.param


@pytest.fixture
def bench_in(phase: Phase) -> Bench:
    """A bench in each of the phases in turn."""
    bench = Bench()
    bench.to(phase)
    return bench

"""A flight on the analytic simulator, period by period, with everything that happens kept in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from control_stack.flight.advance import ComputeDelay
from control_stack.flight.controller_side import ControllerSide
from control_stack.flight.in_process import InProcessFlight, Timing
from control_stack.flight.setpoints import Setpoints
from control_stack.flight.vehicle_side import VehicleSide
from control_stack.protocols import Controller, ControllerSpec, ControlResult, Trajectory
from control_stack.quadrotor.parameters import QuadrotorParameters, load_vehicle
from control_stack.safety.events import AIRBORNE, Event, Phase
from control_stack.safety.supervisor import SafetyConfig
from control_stack.types import Array, Command, CommandLevel, QuadrotorState, Reference
from controllers.loader import build_controller
from sim.config import SimulationConfig
from sim.factory import make_vehicle

DT, PHYSICS_DT = 0.01, 0.001


class Memory:
    """Stands in for the recorder."""

    def __init__(self) -> None:
        self.t: list[float] = []
        self.truth: list[QuadrotorState] = []
        self.sent: list[Command | None] = []
        self.phases: list[Phase] = []
        self.references: dict[float, Reference] = {}
        self.events: list[Event] = []

    def period(self, t: float, side: VehicleSide, truth: QuadrotorState | None = None) -> None:
        assert truth is not None
        self.t.append(t)
        self.truth.append(truth)
        self.sent.append(side.sent)
        self.phases.append(side.phase)

    def reference(self, t: float, reference: Reference) -> None:
        self.references[t] = reference

    def event(self, event: Event) -> None:
        self.events.append(event)

    @property
    def names(self) -> list[str]:
        return [event.name for event in self.events]

    def event_time(self, name: str) -> float:
        """Of the first event of this name; None is a failed test."""
        return next(event.t for event in self.events if event.name == name)

    def positions(self) -> Array:
        return np.stack([state.position_w for state in self.truth])


class Scripted:
    """A controller that passes another one's commands through a function of (t, state, command)."""

    def __init__(self, inner: Controller, change: Callable[[float, QuadrotorState, Command], Any], warm_up: int = 10):
        self._inner, self._change = inner, change
        self.spec = ControllerSpec("scripted", inner.spec.levels, inner.spec.rate_hz, warm_up=warm_up)
        self.last_result = ControlResult()
        self.calls: list[float] = []
        self.resets = 0

    def reset(self) -> None:
        self.resets += 1
        self._inner.reset()

    def __call__(self, t: float, state: QuadrotorState, reference: Reference) -> Command:
        self.calls.append(t)
        return self._change(t, state, self._inner(t, state, reference))  # type: ignore[no-any-return]


class Rig:
    """A whole in-process flight that a test drives by hand."""

    def __init__(
        self,
        vehicle: str = "crazyflie",
        controllers: tuple[str, ...] = ("geometric",),
        level: CommandLevel | None = None,
        change: Callable[[float, QuadrotorState, Command], Any] | None = None,
        delay: ComputeDelay | None = None,
        safety: SafetyConfig | None = None,
        extra: dict[str, Controller] | None = None,
        **simulation: Any,
    ):
        self.parameters: QuadrotorParameters = load_vehicle(vehicle)
        self.vehicle = make_vehicle("analytic", self.parameters, SimulationConfig(**simulation))
        self.vehicle.connect()
        levels = [level] if level else list(CommandLevel)[:3]
        built = {name: build_controller(name, self.parameters, levels) for name in controllers}
        if change is not None:
            built[controllers[0]] = Scripted(built[controllers[0]], change)
        self.controllers = ControllerSide({**built, **(extra or {})}, controllers[0], Setpoints(self.parameters.limits))
        self.side = VehicleSide(self.vehicle, self.parameters, safety or SafetyConfig())
        self.memory = Memory()
        timing = Timing(DT, PHYSICS_DT, delay or ComputeDelay())
        self.flight = InProcessFlight(self.vehicle, self.side, self.controllers, timing, self.memory)  # type: ignore[arg-type]

    @property
    def t(self) -> float:
        return self.flight.t

    @property
    def phase(self) -> Phase:
        return self.side.phase

    @property
    def truth(self) -> QuadrotorState:
        return self.vehicle.true_state()

    def fly(self, seconds: float) -> None:
        """Lets simulated time pass."""
        for _ in range(round(seconds / DT)):
            self.flight.tick()

    def until(self, *phases: Phase, limit: float = 30.0) -> None:
        """Flies until the phase is one of these."""
        end = self.t + limit
        while self.phase not in phases:
            assert self.t < end, f"still {self.phase} after {limit} s"
            self.flight.tick()

    def take_off(self) -> None:
        """From the ground to the controller's take-over."""
        self.flight.tick()
        assert self.side.supervisor.arm(self.t, self.side.state).accepted
        assert self.side.supervisor.takeoff(self.t, self.side.state).accepted
        self.until(Phase.FLYING)

    def land(self) -> None:
        assert self.side.supervisor.land(self.t, self.side.state).accepted
        self.until(Phase.DISARMED)
        self.fly(0.2)

    def mission(self, trajectory: Trajectory) -> None:
        self.flight.run(trajectory, lambda t, phase: None)

    def tracking_errors(self, interval: tuple[float, float]) -> Array:
        """Distances from the reference, m, over an interval since take-over, s."""
        truth = dict(zip(self.memory.t, self.memory.truth, strict=True))
        began = min(self.memory.references)
        return np.array(
            [
                np.linalg.norm(truth[t].position_w - r.position_w)
                for t, r in self.memory.references.items()
                if interval[0] <= t - began < interval[1]
            ]
        )

    def assert_landed(self, near: Array | None = None, within: float = 0.1) -> None:
        """Disarmed, motors stopped, at rest, upright, on the ground; optionally near a place."""
        assert self.phase is Phase.DISARMED and self.side.sent is None
        state = self.truth
        assert np.linalg.norm(state.velocity_w) < 0.01
        assert 1.0 - 2.0 * (state.quat_xyzw[0] ** 2 + state.quat_xyzw[1] ** 2) > 0.99
        assert abs(state.position_w[2] - 0.5 * self.parameters.body_size[2]) < 0.01
        assert state.rotor_speed is not None and np.all(state.rotor_speed < 0.5 * self.parameters.hover_rotor_speed)
        if near is not None:
            assert np.linalg.norm(state.position_w[:2] - near[:2]) < within


@pytest.fixture
def rig() -> Iterator[Callable[..., Rig]]:
    """Makes rigs, closed at the end."""
    made: list[Rig] = []

    def build(**options: Any) -> Rig:
        made.append(Rig(**options))
        return made[-1]

    yield build
    for one in made:
        one.vehicle.close()


__all__ = ["AIRBORNE", "Memory", "Rig", "Scripted"]

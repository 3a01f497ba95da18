"""A whole flight over an emulated link with a faulty link in between; ``faulty_rigs`` has the two vehicles.

Nothing here depends on the machine's speed: the emulator's time passes only where the flight waits for a state, and a
fault begins and ends at an instant of that time. What is scored is the emulator's ground truth.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from control_stack.algebra import body_axes
from control_stack.errors import FlightAborted
from control_stack.flight.advance import ComputeDelay
from control_stack.flight.controller_side import ControllerSide
from control_stack.flight.hardware import HardwareFlight, HardwareVehicle
from control_stack.flight.in_process import Timing
from control_stack.flight.setpoints import Setpoints
from control_stack.flight.vehicle_side import VehicleSide
from control_stack.protocols import Controller
from control_stack.quadrotor.parameters import load_vehicle
from control_stack.safety.events import AIRBORNE, Event, Phase, Severity
from control_stack.safety.supervisor import SafetyConfig
from control_stack.trajectories import Hover
from control_stack.types import Command, CommandLevel, QuadrotorState, Reference
from controllers.loader import build_controller
from sim.emulators.faulty_link import FaultyLink
from sim.quadrotor import SimulatedQuadrotor

DT = 0.01
SOFT, LEVEL = 0.8, 0.2  # m/s and rad: a controlled landing. PX4's own lands at MPC_LAND_SPEED, 0.7 m/s


class Flight:
    """Vehicle, link and controller under test; subclasses say which.

    Attributes:
        link: Between driver and emulator.
        names: Events so far, of the host.
        history: (emulator time, true state, armed) of every control period.
        at: Actions by emulator time; each is called once, when its time has come.
    """

    link: FaultyLink
    vehicle_name = ""
    level = CommandLevel.CTBR

    def __init__(
        self,
        change: Callable[[float, QuadrotorState, Command], Any] | None = None,
        level: CommandLevel | None = None,
        safety: SafetyConfig | None = None,
        fallback: tuple[str, ...] = (),
    ):
        self.parameters = load_vehicle(self.vehicle_name)
        self.vehicle = self._open()
        self.vehicle.connect()
        levels = [level or self.level]
        built = {name: build_controller(name, self.parameters, levels) for name in ("geometric", *fallback)}
        names: tuple[str, ...] = ("geometric",)
        if change is not None:
            names = ("changed",)
            built["changed"] = Changed(built["geometric"], change)
        self.controllers = ControllerSide(built, names[0], Setpoints(self.parameters.limits), fallback)
        self.side = VehicleSide(self.vehicle, self.parameters, safety or SafetyConfig())
        self.history: list[tuple[float, QuadrotorState, bool]] = []
        self.events: list[Event] = []
        self.at: list[tuple[float, Callable[[], None]]] = []
        timing = Timing(DT, DT, ComputeDelay())
        self.flight = HardwareFlight(self.vehicle, self.side, self.controllers, timing, self)  # type: ignore[arg-type]

    # What the vehicle under test gives.

    def _open(self) -> HardwareVehicle:
        raise NotImplementedError

    @property
    def quad(self) -> SimulatedQuadrotor:
        """The simulated quadrotor in the emulator."""
        raise NotImplementedError

    def truth(self) -> QuadrotorState:
        """The emulator's ground truth."""
        return self.quad.true_state()

    def armed(self) -> bool:
        """Whether the emulator's motors may turn."""
        raise NotImplementedError

    def sag(self, volts_per_cell: float) -> None:
        """The battery has this voltage from now on."""
        raise NotImplementedError

    def freeze(self) -> None:
        """The vehicle's estimate stays as it is, and is sent as new."""
        raise NotImplementedError

    def silence(self) -> None:
        """The vehicle tells nothing any more; commands still arrive."""
        raise NotImplementedError

    def close(self) -> None:
        self.vehicle.close()
        self.link.close()

    # Time.

    @property
    def t(self) -> float:
        return self.vehicle.now()

    def stepped(self) -> None:
        """Called by the emulator's stepping."""
        now = self.emulator_time()
        self.history.append((now, self.truth(), self.armed()))
        for when, action in [item for item in self.at if item[0] <= now]:
            self.at.remove((when, action))
            action()

    def emulator_time(self) -> float:
        raise NotImplementedError

    def after(self, seconds: float, action: Callable[[], None]) -> None:
        """Does something ``seconds`` from now, in the emulator's time."""
        self.at.append((self.emulator_time() + seconds, action))

    def tick(self, seconds: float) -> None:
        """Lets the flight go on."""
        end = self.emulator_time() + seconds
        while self.emulator_time() < end:
            self.flight.tick()

    def take_off(self) -> None:
        """Up to where the controller flies."""
        self.start()
        limit = self.emulator_time() + 30.0
        while self.side.phase is Phase.TAKEOFF:
            assert self.emulator_time() < limit
            self.flight.tick()
        assert self.side.phase is Phase.FLYING, self.names

    def start(self) -> None:
        """Arms and begins to climb."""
        x, y, z = self.vehicle.state().position_w.tolist()
        self.controllers.setpoints.follow(Hover((x, y, z + self.side.supervisor.config.takeoff_height)))
        self.flight.tick()
        self.flight._arm()
        assert self.side.supervisor.takeoff(self.t, self.side.state).accepted

    def end(self, limit: float = 30.0) -> None:
        """Flies on until nothing is in the air any more, by truth, and a second longer; control may be lost."""
        end = self.emulator_time() + limit
        while self.emulator_time() < end and (self._flying() or not self.on_ground()):
            self._tick_or_watch()
        assert self.on_ground(), self.names
        end = self.emulator_time() + 1.0
        while self.emulator_time() < end:
            self._tick_or_watch()

    def _flying(self) -> bool:
        return self.armed() if self.flight._released else self.side.phase in AIRBORNE

    def _tick_or_watch(self) -> None:
        if self.flight._released:
            self.vehicle.wait_for_state(DT)  # type: ignore[attr-defined]
            return
        try:
            self.flight.tick()
        except FlightAborted:
            pass  # it watches from now on

    # The recorder's place.

    def period(self, t: float, side: VehicleSide, truth: QuadrotorState | None = None) -> None:
        pass

    def reference(self, t: float, reference: Reference) -> None:
        pass

    def event(self, event: Event) -> None:
        self.events.append(event)

    @property
    def names(self) -> list[str]:
        return [event.name for event in self.events]

    # What is scored.

    def on_ground(self) -> bool:
        state = self.truth()
        return bool(state.position_w[2] < 0.5 * self.parameters.body_size[2] + 0.05)

    def since(self, t: float) -> list[tuple[float, QuadrotorState, bool]]:
        return [entry for entry in self.history if entry[0] >= t]

    def strayed(self, t: float) -> float:
        """Furthest from where it was at t, since then, m."""
        entries = self.since(t)
        return max(float(np.linalg.norm(s.position_w - entries[0][1].position_w)) for _, s, _ in entries)

    def touchdown(self, t: float) -> tuple[float, float]:
        """Speed (m/s) and tilt (rad) just before the first contact with the ground after t."""
        low = 0.5 * float(self.parameters.body_size[2]) + 0.02
        entries = self.since(t)
        first = next(i for i, (_, state, _) in enumerate(entries) if state.position_w[2] < low)
        last = entries[max(first - 1, 0)][1]
        up = float(body_axes(tuple(last.quat_xyzw.tolist()))[2][2])  # type: ignore[arg-type]
        return float(np.linalg.norm(last.velocity_w)), float(np.arccos(min(up, 1.0)))

    def height_when_cut(self, t: float) -> float:
        """Of the vehicle over the ground when its motors were switched off, m."""
        ground = 0.5 * float(self.parameters.body_size[2])
        return next(float(s.position_w[2]) - ground for _, s, armed in self.since(t) if not armed)

    def continues(self) -> None:
        """S1: the controller has the vehicle, and nothing but that was told since take-off."""
        assert self.side.phase is Phase.FLYING and self.names[-1] == "takeoff_done", self.names

    def landed_softly(self, t: float) -> None:
        """S2: down since t, slowly and upright, and the motors were stopped on the ground, not before."""
        assert not self.armed()
        speed, tilt = self.touchdown(t)
        assert speed < SOFT and tilt < LEVEL, (speed, tilt)
        assert self.height_when_cut(t) < 0.05

    def off(self, name: str) -> None:
        """S3: motors off, down, and the event says where it was known to be."""
        assert not self.armed() and self.on_ground()
        event = next(event for event in self.events if event.name == name)
        assert len(event.values["position_w"].split(",")) == 3 and event.severity is Severity.ERROR


class Changed:
    """A controller that passes another one's commands through a function of (t, state, command)."""

    def __init__(self, inner: Controller, change: Callable[[float, QuadrotorState, Command], Any]):
        self._inner, self._change = inner, change
        self.spec, self.last_result = inner.spec, inner.last_result

    def reset(self) -> None:
        self._inner.reset()

    def __call__(self, t: float, state: QuadrotorState, reference: Reference) -> Command:
        return self._change(t, state, self._inner(t, state, reference))  # type: ignore[no-any-return]

"""The emulated Crazyflie: datagrams in, datagrams out, and a simulated quadrotor that moves with its own time."""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

import numpy as np

from control_stack.algebra import body_axes, yaw_of
from control_stack.crazyflie.wire import Info, Packet, Port, decode, is_null
from control_stack.errors import InputRejected, InvalidInput
from control_stack.protocols import SimulatedVehicle
from control_stack.quadrotor.parameters import QuadrotorParameters
from control_stack.types import Array
from sim.emulators.crazyflie.commander import Commander
from sim.emulators.crazyflie.inner_loops import Flight, levelled
from sim.emulators.crazyflie.logging import Logging
from sim.emulators.crazyflie.parameters import Parameters
from sim.emulators.crazyflie.planner import State
from sim.emulators.crazyflie.setpoints import STOP
from sim.emulators.crazyflie.snapshot import VARIABLES, Snapshot
from sim.emulators.crazyflie.supervisor import Supervisor

_COMMANDERS = (Port.COMMANDER, Port.GENERIC, Port.HIGH_LEVEL)


@dataclass(frozen=True)
class FirmwareOptions:
    """What kind of firmware is emulated.

    Attributes:
        protocol: CRTP protocol version that it tells.
        without: Log variables and parameters that it lacks, by name.
        supply: Battery voltage at the start, V.
    """

    protocol: int = 12
    without: frozenset[str] = field(default_factory=frozenset)
    supply: float = 4.0


class EmulatedCrazyflie:
    """One vehicle. ``handle`` and ``step`` give back what it sends; it never waits and knows no clock.

    Attributes:
        supply: Battery voltage, V; may be changed in flight.
        dropped: Counts of packets that were not taken, by reason.
    """

    def __init__(
        self, vehicle: SimulatedVehicle, parameters: QuadrotorParameters, options: FirmwareOptions | None = None
    ):
        if parameters.crazyflie is None:
            raise InvalidInput(
                f"vehicle '{parameters.name}' cannot be presented as a Crazyflie: its file has no block 'crazyflie'"
            )
        self.options = options or FirmwareOptions()
        self.vehicle, self._airframe = vehicle, parameters
        self.supply = self.options.supply
        self.dropped: Counter[str] = Counter()
        gains = zip(("roll", "pitch", "yaw"), parameters.gains.attitude.tolist(), strict=True)
        self.parameters = Parameters(self.options.without, {f"pid_attitude.{axis}_kp": gain for axis, gain in gains})
        kinds = [(name, kind) for name, (kind, _) in VARIABLES.items()]
        self._logging = Logging(kinds, self._values, self.options.without)
        self.commander, self.supervisor = Commander(self.parameters), Supervisor()
        self._flight = Flight(parameters, parameters.crazyflie)
        self._microseconds = 0
        self._acceleration = np.zeros(3)
        self._snapshot: Snapshot | None = None
        self._thrust = 0
        vehicle.connect()
        vehicle.arm()  # the emulated firmware alone decides whether the motors turn
        self._state = vehicle.state()

    @property
    def time(self) -> float:
        """The vehicle's own time, s."""
        return 1e-6 * self._microseconds

    def close(self) -> None:
        """Ends the simulation."""
        self.vehicle.close()

    def handle(self, datagram: bytes) -> list[bytes]:
        """Takes one datagram; returns the answers. Whatever it holds, it raises nothing."""
        packet = decode(datagram)
        if packet is None:
            self.dropped["size"] += 1
            return []
        return [answer.encode() for answer in self._answer(packet)]

    def step(self, dt: float) -> list[bytes]:
        """Lets dt seconds pass; returns what the vehicle sends by itself at their end."""
        setpoint, age = self.commander.current(self.time)
        truth = self.vehicle.true_state()
        self._watch_parameters()
        up = float(body_axes(tuple(truth.quat_xyzw.tolist()))[2][2])  # type: ignore[arg-type]
        verdict = self.supervisor.update(self.time, up, self.supervisor.armed and not setpoint.stops, age)
        if verdict == "off":
            if setpoint is not STOP:
                self.commander.reset()
            setpoint = STOP
        elif verdict == "level":
            setpoint = levelled(setpoint) if not setpoint.stops else STOP
        self._thrust = setpoint.thrust
        self.vehicle.send(self._flight.command(setpoint, truth, self.supply, dt))
        self.vehicle.step(dt)
        self._microseconds += round(1e6 * dt)
        before, self._state = self._state, self.vehicle.state()
        self._acceleration = (self._state.velocity_w - before.velocity_w) / dt
        self._snapshot = None
        return [packet.encode() for packet in self._logging.due(self._microseconds // 1000)]

    def info(self) -> Info:
        """The supervisor's bits."""
        planner = self.commander.planner
        bits = self.supervisor.info()
        if planner.state is not State.IDLE:
            bits |= Info.HIGH_LEVEL_ACTIVE
        if planner.path is None or planner.path.finished(self.time):
            bits |= Info.HIGH_LEVEL_FINISHED
        return bits

    def _answer(self, packet: Packet) -> Iterator[Packet]:
        if is_null(packet):
            yield packet
        elif packet.port == Port.LINK:
            yield from self._link(packet)
        elif packet.port == Port.PLATFORM:
            yield from self._platform(packet)
        elif packet.port == Port.PARAM:
            yield from self.parameters.handle(packet)
        elif packet.port == Port.LOG:
            yield from self._logging.handle(packet, self._microseconds // 1000)
        elif packet.port == Port.MEMORY:
            if packet.channel == 0 and packet.data[:1] == b"\x01":
                yield packet._replace(data=b"\x01\x00")  # no memories: no decks, no trajectories
        elif packet.port == Port.SUPERVISOR and self.options.protocol >= 12:
            yield from self._supervise(packet)
        elif packet.port == Port.LOCALIZATION:
            self._localize(packet)
        elif packet.port in _COMMANDERS:
            if not self.commander.handle(packet, self.time, self._pose()):
                self.dropped["setpoint"] += 1
        else:
            self.dropped["port"] += 1

    def _link(self, packet: Packet) -> Iterator[Packet]:
        if packet.channel == 0:  # echo
            yield packet
        elif packet.channel == 1:  # source: who is there
            yield packet._replace(data=b"Bitcraze Crazyflie\0")

    def _platform(self, packet: Packet) -> Iterator[Packet]:
        if packet.channel == 1 and packet.data[:1] == b"\0":
            yield packet._replace(data=bytes((0, self.options.protocol)))
        elif packet.channel == 1 and packet.data[:1] == b"\1":
            yield packet._replace(data=b"\1control_stack\0")
        elif packet.channel == 0 and packet.data in (b"\1\0", b"\1\1"):
            done = self._arm(packet.data[1:] == b"\1")
            yield packet._replace(data=packet.data + bytes((done,)))
        elif packet.channel == 0 and packet.data == b"\2":
            yield packet._replace(data=bytes((2, self.supervisor.recover())))

    def _supervise(self, packet: Packet) -> Iterator[Packet]:
        data = packet.data
        if packet.channel == 0 and data == b"\x0c":
            yield packet._replace(data=b"\x8c" + struct.pack("<H", self.info()))
        elif packet.channel != 1:
            return
        elif data in (b"\1\0", b"\1\1"):
            done = self._arm(data[1:] == b"\1")
            yield packet._replace(data=bytes((0x81, done, self.supervisor.armed)))
        elif data == b"\2":
            done = self.supervisor.recover()
            yield packet._replace(data=bytes((0x82, done, done)))
        elif data == b"\3":
            self.supervisor.emergency_stop()
        elif data == b"\4":
            self.supervisor.watchdog(self.time)

    def _arm(self, wanted: bool) -> bool:
        was = self.supervisor.armed
        done = self.supervisor.arm(self.time, wanted)
        if was != self.supervisor.armed:
            self.commander.reset()  # what was sent before arming is not flown after it
        return done

    def _localize(self, packet: Packet) -> None:
        data = packet.data
        if packet.channel == 1 and data == b"\3":
            self.supervisor.emergency_stop()
        elif packet.channel == 1 and data == b"\4":
            self.supervisor.watchdog(self.time)
        elif packet.channel == 0 and len(data) == 12:
            self._external(struct.unpack("<fff", data), self._state.quat_xyzw)
        elif packet.channel == 1 and data[:1] == b"\x08" and len(data) == 29:
            values = struct.unpack("<7f", data[1:])
            self._external(values[:3], np.array(values[3:]))

    def _external(self, position: tuple[float, ...], quat: Array) -> None:
        try:
            self.vehicle.external_pose(np.array(position), quat, self.time)
        except InputRejected as error:
            self.dropped[f"pose/{error.reason}"] += 1

    def _watch_parameters(self) -> None:
        if self.parameters.get("stabilizer.stop"):
            self.supervisor.emergency_stop()
        self.supervisor.preflight_timeout = 1e-3 * self.parameters.get("supervisor.prefltTimeout", 30000)
        self.supervisor.landed_timeout = 1e-3 * self.parameters.get("supervisor.landedTimeout", 3000)

    def _pose(self) -> Array:
        state = self._state
        yaw = float(yaw_of(tuple(state.quat_xyzw.tolist())))  # type: ignore[arg-type]
        return np.array([*state.position_w, yaw])

    def _values(self, names: Collection[str]) -> dict[str, float]:
        if self._snapshot is None:
            speeds = np.zeros(4) if self._state.rotor_speed is None else self._state.rotor_speed
            share = np.clip(speeds / np.asarray(self._airframe.rotor_speed_max), 0.0, 1.0)
            self._snapshot = Snapshot(
                self._state, self._acceleration, self.supply, int(self.info()), self._thrust, share
            )
        snapshot = self._snapshot
        return {name: VARIABLES[name][1](snapshot) for name in names}

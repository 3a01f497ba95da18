"""One UDP port of the emulated autopilot: who it talks to, and the requests that come in on it."""

from __future__ import annotations

import socket
from collections import Counter
from typing import Any

from control_stack.errors import InputRejected, LinkError
from control_stack.px4.codec import Codec
from sim.emulators.px4.autopilot import Autopilot
from sim.emulators.px4.commands import Commands, command_parameters
from sim.emulators.px4.dialect import import_mavlink
from sim.emulators.px4.messages import BOOT, BUILDERS
from sim.emulators.px4.options import PX4EmulatorOptions
from sim.emulators.px4.setpoints import attitude_command, local_command
from sim.emulators.px4.streams import Streams
from sim.emulators.px4.vision import take_pose

_MOST_PEERS, _PEER_TIMEOUT = 8, 5.0  # beyond the one it always sends to; s
_TEXT = 50  # bytes of one STATUSTEXT
_MOST_AT_ONCE = 1000  # datagrams per turn


class Route:
    """A socket that always sends to one port, and to whoever else has spoken to it lately.

    Attributes:
        port, remote: Sent from, and always sent to.
        refused: Well-formed messages that were not acted on, by "type/reason".
        codec: With the counts of what was dropped before that.
    """

    def __init__(self, autopilot: Autopilot, options: PX4EmulatorOptions, local: int, remote: int):
        self._autopilot, self._options = autopilot, options
        self.mavlink = import_mavlink()
        self.codec = Codec(self.mavlink, options.system, 1, True, options.signing_key)
        self.streams = Streams(self.mavlink)
        self.refused: Counter[str] = Counter()
        self._commands = Commands(autopilot)
        self._always = (options.host, remote)
        self._peers: dict[Any, float] = {}
        self._texts = 0
        self._backlog: list[str] = []  # parameters still to be listed
        self._syncs: list[int] = []  # TIMESYNC to be answered with the time that this turn's telemetry carries
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            self._socket.bind((options.host, local))
        except OSError as error:
            self._socket.close()
            raise LinkError(f"{options.host}:{local} cannot be had: {error.strerror}") from None
        self._socket.setblocking(False)
        self.port: int = self._socket.getsockname()[1]
        self.remote = remote

    def receive(self) -> None:
        """Acts on everything that has arrived."""
        for _ in range(_MOST_AT_ONCE):
            try:
                data, sender = self._socket.recvfrom(2048)
            except BlockingIOError:
                return
            except OSError:  # a peer has closed its port
                continue
            for message in self.codec.decode(data):
                self._hear(sender)
                try:
                    self._act(message)
                except InputRejected as error:
                    self._refuse(message.get_type(), error.reason)

    def telemetry(self) -> None:
        """Sends what is due."""
        a, state, now = self._autopilot, self._autopilot.quad.state(), self._autopilot.quad.time
        for asked in self._syncs:
            self.send(self.mavlink.MAVLink_timesync_message(round((now + BOOT) * 1e9), asked))
        self._syncs.clear()
        for name in self.streams.due(now):
            message = BUILDERS[name](self.mavlink, a, state)
            if message is not None:
                self.send(message)
        for name in self._backlog[:10]:
            self._send_parameter(name)
        del self._backlog[:10]

    def text(self, severity: int, words: str) -> None:
        """STATUSTEXT, in as many parts of 50 bytes as it takes."""
        text = words.encode()
        self._texts += len(text) > _TEXT
        number = self._texts % 65535 + 1 if len(text) > _TEXT else 0
        for part, at in enumerate(range(0, len(text), _TEXT)):
            self.send(self.mavlink.MAVLink_statustext_message(severity, text[at : at + _TEXT], number, part))

    def send(self, message: Any) -> None:
        """To everybody on this route."""
        data, now = self.codec.encode(message), self._autopilot.quad.time
        self._peers = {peer: heard for peer, heard in self._peers.items() if now - heard < _PEER_TIMEOUT}
        for peer in {self._always, *self._peers}:
            try:
                self._socket.sendto(data, peer)
            except OSError:  # nobody there, or a full buffer: lost, as on the air
                continue

    def close(self) -> None:
        """Releases the port."""
        self._socket.close()

    def _refuse(self, kind: str, reason: str) -> None:
        self.refused[f"{kind}/{reason}"] += 1

    def _hear(self, sender: Any) -> None:
        if sender == self._always or (sender not in self._peers and len(self._peers) >= _MOST_PEERS):
            return
        self._peers[sender] = self._autopilot.quad.time

    def _act(self, m: Any) -> None:
        kind = m.get_type()
        if m.get_srcSystem() == self._options.system and m.get_srcComponent() == 1:
            self._refuse(kind, "own")
            return
        target = getattr(m, "target_system", 0)
        if target not in (0, self._options.system) or getattr(m, "target_component", 0) not in (0, 1):
            self._refuse(kind, "target")
            return
        if kind in ("COMMAND_LONG", "COMMAND_INT"):
            result = self._commands.run(m.command, command_parameters(m), self.streams)
            answer = self.mavlink.MAVLink_command_ack_message
            self.send(answer(m.command, result, 0, 0, m.get_srcSystem(), m.get_srcComponent()))
        elif kind == "SET_POSITION_TARGET_LOCAL_NED":
            self._autopilot.setpoint(local_command(m, self._autopilot.quad.state()))
        elif kind == "SET_ATTITUDE_TARGET":
            vehicle = self._autopilot.quad.parameters
            if vehicle.px4 is not None:
                self._autopilot.setpoint(attitude_command(m, vehicle.px4, vehicle))
        elif kind == "ODOMETRY":
            take_pose(m, self._autopilot.quad)
        elif kind == "TIMESYNC" and m.tc1 == 0:
            self._syncs.append(m.ts1)
        elif kind == "PING" and m.target_system == 0:
            ping = self.mavlink.MAVLink_ping_message
            self.send(ping(m.time_usec, m.seq, m.get_srcSystem(), m.get_srcComponent()))
        elif kind.startswith("PARAM_"):
            self._parameter(kind, m)
        elif kind == "MISSION_REQUEST_LIST":
            count = self.mavlink.MAVLink_mission_count_message
            self.send(count(m.get_srcSystem(), m.get_srcComponent(), 0, m.mission_type))

    def _parameter(self, kind: str, m: Any) -> None:
        table = self._autopilot.parameters
        if kind == "PARAM_REQUEST_LIST":
            self._backlog = [name for i in range(len(table)) if (name := table.find("", i)) is not None]
        elif kind == "PARAM_REQUEST_READ":
            found = table.find(m.param_id, m.param_index)
            if found is None:
                self._refuse(kind, "unknown")
            else:
                self._send_parameter(found)
        elif kind == "PARAM_SET":
            taken = table.set_from_wire(m.param_id, m.param_value, m.param_type)
            if table.find(m.param_id, -1) is not None:
                self._send_parameter(m.param_id)  # with the old value where the new one was not taken
            if not taken:
                self._refuse(kind, "value")

    def _send_parameter(self, name: str) -> None:
        table = self._autopilot.parameters
        value = self.mavlink.MAVLink_param_value_message
        self.send(value(name.encode(), table.wire(name), table.kind(name), len(table), table.index(name)))

"""One cflib link: opened with one clear line for whatever goes wrong, tables cached, parameters read and written.

cflib is imported here and in ``setpoints.py`` only, and when a link is opened, not before.
"""

from __future__ import annotations

import logging
import os
import socket
import struct
import threading
import time
import warnings
from contextlib import suppress
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlparse

from control_stack.crazyflie.wire import NEWEST_PROTOCOL, OLDEST_PROTOCOL, Port
from control_stack.errors import InvalidInput, LinkError, MissingDependency
from control_stack.exclusive import lock

_SCHEMES = ("radio", "usb", "udp", "tcp", "prrt", "serial")
_RETRY = 0.02  # s between tries of one parameter
_ASK_AGAIN = 0.4  # s
_QUIET_PATIENCE = 0.5  # s
_READ, _WRITE = 1, 2
_TYPE_SIZES = {
    "uint8_t": "B",
    "int8_t": "b",
    "uint16_t": "H",
    "int16_t": "h",
    "uint32_t": "I",
    "int32_t": "i",
    "float": "f",
}


def cache_folder() -> Path:
    """Where tables of contents are kept between connections."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "control_stack" / "crazyflie"


def check_uri(uri: str) -> None:
    """Refuses what no link of cflib takes. Raises InvalidInput."""
    try:
        parsed = urlparse(uri)
        port = parsed.port if parsed.scheme in ("udp", "tcp") else 0
    except ValueError as error:
        raise InvalidInput(f"--uri {uri}: {error}") from None
    if parsed.scheme not in _SCHEMES:
        expected = ", ".join(f"{scheme}://" for scheme in _SCHEMES)
        raise InvalidInput(f"--uri '{uri}' is no Crazyflie link; expected one of {expected} (udp://127.0.0.1:19850)")
    if parsed.scheme in ("udp", "tcp") and not (parsed.hostname and port):
        raise InvalidInput(f"--uri {uri}: expected a host and a port, as in {parsed.scheme}://127.0.0.1:19850")


def vehicle_key(uri: str) -> str:
    """What all addresses of one vehicle have in common, as far as addresses tell.

    A radio's defaults are cflib's (channel 2, 2M, E7E7E7E7E7), and whose dongle it is does not matter; UDP and TCP of
    one port lead to one vehicle.
    """
    parsed = urlparse(uri)
    if parsed.scheme == "radio":
        told = [part for part in parsed.path.split("/") if part]
        channel, rate, address = [*told, *("2", "2M", "E7E7E7E7E7")[len(told) :]][:3]
        return f"radio-{channel.lstrip('0') or '0'}-{rate}-{address.upper().rjust(10, '0')}"
    if parsed.scheme in ("udp", "tcp"):
        host = parsed.hostname or ""
        with suppress(OSError):  # a name that nobody knows will not be connected to either
            host = socket.gethostbyname(host)
        return f"ip-{host}-{parsed.port}"
    return uri.rstrip("/")


class Link:
    """A link to one vehicle.

    Attributes:
        cf: cflib's Crazyflie, while open.
        lost: Why the link broke, if it did.
    """

    def __init__(self, uri: str, cache: Path | None = None):
        """Raises InvalidInput for a URI that cflib has no link for."""
        check_uri(uri)
        self.uri, self._cache = uri, cache
        self.cf: Any = None
        self.lost: str | None = None
        self._failure: str | None = None
        self._lock: IO[str] | None = None
        self._connected, self._answered = threading.Event(), threading.Event()
        self._heard = threading.Condition()
        self._values: dict[tuple[int, int], bytes | None] = {}  # of what is being asked, None until it is answered

    def open(self, patience: float = 20.0, silence: float = 2.0) -> None:
        """Connects and loads both tables.

        Args:
            patience: s until the tables must have come.
            silence: s until anything at all must have come.

        Raises:
            MissingDependency: cflib is not installed.
            LinkError: Nothing answers, or what answers is no vehicle that this driver can fly; or another process of
                this host has the link: a vehicle forgets the log blocks of one client when the next one connects.
        """
        crazyflie = _import_cflib(self.uri)
        cache = self._cache or cache_folder()
        cache.mkdir(parents=True, exist_ok=True)
        self._lock = lock(f"crazyflie-{vehicle_key(self.uri)}")
        if self._lock is None:
            raise LinkError(f"{self.uri} is taken: somebody on this host flies or watches this vehicle already")
        self.cf, self.lost, self._failure = crazyflie(rw_cache=str(cache)), None, None
        self._connected.clear()
        self._answered.clear()
        self._values.clear()
        cf = self.cf
        cf.connected.add_callback(lambda uri: self._connected.set())
        cf.link_established.add_callback(lambda uri: self._answered.set())
        cf.connection_failed.add_callback(lambda uri, why: self._fail(why))
        cf.connection_lost.add_callback(lambda uri, why: self._fail(why))
        cf.disconnected_link_error.add_callback(lambda uri, why: self._fail(why))
        cf.add_port_callback(Port.PARAM, self._on_parameter)
        try:
            cf.open_link(self.uri)
            if self.uri.startswith(("udp:", "tcp:")) and cf.link is not None:
                # UDP loses datagrams, and behind a stream there may be a radio: a lost one would end the download.
                cf.link.needs_resending = True
            self._await(patience, silence)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Ends the link; may be called twice."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None
        cf, self.cf = self.cf, None
        if cf is None:
            return
        _quiet(cf)
        # cflib's receiver would sleep through a second of silence before it saw that it is to end.
        cf.incoming.stop()
        queue = getattr(cf.link, "in_queue", None)
        if queue is not None:
            from cflib.crtp.crtpstack import CRTPPacket

            queue.put(CRTPPacket(0xFF))
        cf.close_link()

    @property
    def protocol(self) -> int:
        """Version of the protocol that the vehicle speaks; negative until it has told."""
        return self.cf.platform.get_protocol_version() if self.cf is not None else -1

    def require(self, logs: tuple[str, ...], parameters: tuple[str, ...]) -> None:
        """Refuses a vehicle whose firmware lacks what is needed. Raises LinkError."""
        for kind, names, toc in (
            ("log variable", logs, self.cf.log.toc),
            ("parameter", parameters, self.cf.param.toc),
        ):
            for name in names:
                if toc.get_element(*name.split(".")) is None:
                    raise LinkError(
                        f"the firmware at {self.uri} has no {kind} '{name}', which this driver needs: update it"
                    )

    def has_log(self, name: str) -> bool:
        """Whether the vehicle has a log variable."""
        return self.cf.log.toc.get_element(*name.split(".")) is not None

    def has_parameter(self, name: str) -> bool:
        """Whether the vehicle has a parameter."""
        return self.cf.param.toc.get_element(*name.split(".")) is not None

    def send(self, port: int, channel: int, data: bytes) -> None:
        """Sends one packet as it is."""
        from cflib.crtp.crtpstack import CRTPPacket

        packet = CRTPPacket()
        packet.set_header(int(port), channel)
        packet.data = data
        if self.cf is not None:
            self.cf.send_packet(packet)

    def read(self, name: str, patience: float = 1.0) -> float:
        """Value of a parameter. Raises LinkError when no answer comes."""
        number, code = self._parameter(name)
        raw = self._ask(_READ, number, struct.pack("<H", number), patience)
        if raw is None or len(raw) < struct.calcsize(code):
            raise LinkError(f"{self.uri} does not answer a read of parameter '{name}'")
        return struct.unpack("<" + code, raw[: struct.calcsize(code)])[0]

    def write(self, name: str, value: int, patience: float) -> bool:
        """Sets an integer parameter; whether the vehicle has confirmed it within ``patience`` s."""
        number, code = self._parameter(name)
        wanted = struct.pack("<" + code, value)
        return self._ask(_WRITE, number, struct.pack("<H", number) + wanted, patience) == wanted

    def _parameter(self, name: str) -> tuple[int, str]:
        element = self.cf.param.toc.get_element(*name.split("."))
        return element.ident, _TYPE_SIZES[element.ctype]

    def _ask(self, channel: int, number: int, request: bytes, patience: float) -> bytes | None:
        """Repeats a request until it is answered. cflib's own queue would wait for ever for a lost answer."""
        deadline = time.monotonic() + patience
        key = (channel, number)
        with self._heard:
            self._values[key] = None
            while self._values[key] is None and time.monotonic() < deadline:
                self.send(Port.PARAM, channel, request)
                self._heard.wait_for(lambda: self._values[key] is not None, min(_RETRY, patience))
            return self._values.pop(key)

    def _on_parameter(self, packet: Any) -> None:
        if packet.channel not in (_READ, _WRITE) or len(packet.data) < 3:
            return
        data = bytes(packet.data)
        number = int.from_bytes(data[:2], "little")
        with self._heard:
            if (packet.channel, number) in self._values:
                # An answer to a read has a status before the value.
                self._values[(packet.channel, number)] = data[3:] if packet.channel == _READ else data[2:]
                self._heard.notify_all()

    def _fail(self, why: str) -> None:
        lines = [line.strip() for line in why.splitlines() if line.strip() and "Traceback" not in line]
        # cflib puts a whole traceback into its message; what matters is the exception.
        told = next((line for line in lines if line.startswith("Exception")), lines[0] if lines else "no reason given")
        self._failure = self.lost = told.removeprefix("Exception:").strip()

    def _await(self, patience: float, silence: float) -> None:
        started = asked = time.monotonic()
        while not self._connected.wait(0.01):
            waited = time.monotonic() - started
            if self.protocol < 0 and time.monotonic() - asked > _ASK_AGAIN:
                # cflib asks once who is there; over UDP the question or the answer may be lost.
                asked = time.monotonic()
                self.cf.platform._request_protocol_version()
            if self._failure is not None:
                advice = _advice(self.uri, self._failure)
                raise LinkError(f"cannot connect to a Crazyflie at {self.uri}: {self._failure}{advice}")
            if 0 <= self.protocol < OLDEST_PROTOCOL:
                self._refuse_protocol()
            if waited > silence and not self._answered.is_set():
                raise LinkError(
                    f"nothing answers at {self.uri} within {silence:g} s: is the vehicle switched on, the address "
                    "right and no other client connected? (an emulated one: control-stack sim serve --as crazyflie)"
                )
            if waited > patience:
                raise LinkError(
                    f"something answers at {self.uri}, but has not told its tables within {patience:g} s: "
                    "no Crazyflie, or a link that loses too much"
                )
        if self.protocol < OLDEST_PROTOCOL:
            self._refuse_protocol()
        # cflib would begin the whole connection anew, with another version, on a stray packet of these ports.
        platform = self.cf.platform
        self.cf.remove_port_callback(Port.PLATFORM, platform._platform_callback)
        self.cf.remove_port_callback(Port.LINK, platform._crt_service_callback)

    def _refuse_protocol(self) -> None:
        raise LinkError(
            f"the vehicle at {self.uri} speaks protocol version {self.protocol}; this driver needs "
            f"{OLDEST_PROTOCOL} to {NEWEST_PROTOCOL}: update its firmware"
        )


def _advice(uri: str, failure: str) -> str:
    """What to do about what cflib says, where that is known."""
    refused = "refused" in failure.lower()
    if uri.startswith(("udp:", "tcp:")) and refused:
        return ": nothing listens there: start control-stack sim serve --as crazyflie, or check the port"
    if uri.startswith("radio:"):
        return ": is the Crazyradio plugged in, and may this user use it (Bitcraze: USB permissions)?"
    if uri.startswith("usb:"):
        return ": is the cable plugged in, the vehicle on, and may this user use it (Bitcraze: USB permissions)?"
    if uri.startswith("serial:"):
        return ": is the device plugged in, its name right (ls /dev/tty*), and may this user use it (group dialout)?"
    return ""


def _quiet(cf: Any) -> None:
    """Ends cflib's own senders before the link goes: one in mid-word would end with a traceback on the terminal."""
    cf.link_statistics.stop()
    updater = cf.param.param_updater
    if updater is not None:
        updater.close()
        updater.join(_QUIET_PATIENCE)
    for timer in list(cf._answer_patterns.values()):
        timer.cancel()


def _import_cflib(uri: str) -> Any:
    try:
        with warnings.catch_warnings():  # cflib turns everybody's deprecation warnings on
            import cflib.crtp
            from cflib.crazyflie import Crazyflie
    except ImportError as error:
        raise MissingDependency(error.name or "cflib", "hardware") from None
    logging.getLogger("cflib").addHandler(logging.NullHandler())  # what matters is raised or counted here
    warnings.filterwarnings("ignore", module=r"(cflib|hardware\.crazyflie)\..*")
    if not cflib.crtp.CLASSES:
        cflib.crtp.init_drivers()
    if uri.startswith("tcp:"):
        _mute()
    if uri.startswith("serial:") and cflib.crtp.SerialDriver not in cflib.crtp.CLASSES:
        cflib.crtp.CLASSES.append(cflib.crtp.SerialDriver)
    return Crazyflie


def _mute() -> None:
    """cflib's tcp link prints its inner life, and a traceback when it is closed, on the terminal."""
    from cflib import cpx
    from cflib.cpx import transports
    from cflib.crtp import tcpdriver

    for module in (cpx, transports, tcpdriver):
        vars(module).setdefault("print", lambda *words, **options: None)

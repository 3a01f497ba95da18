"""Settings of the PX4 emulator."""

from __future__ import annotations

from dataclasses import dataclass

from control_stack.errors import InvalidInput

OFFBOARD_PORT, GROUND_STATION_PORT = 14540, 14550  # PX4's conventions for who listens where
_OFFBOARD_FROM, _GROUND_STATION_FROM = 14580, 18570
_INSTANCES = 100


@dataclass(frozen=True)
class PX4EmulatorOptions:
    """What is emulated and where it talks.

    Attributes:
        port: Port sent to (offboard clients listen there). 14540 + i sends from 14580 + i, and as instance i also
            from 18570 + i to a ground station on 14550; any other port from ephemeral ones, to no ground station.
        host: Address sent from and to.
        system: MAVLink system id.
        signing_key: Pass phrase of MAVLink 2 signing; with it unsigned messages are dropped.
    """

    port: int = OFFBOARD_PORT
    host: str = "127.0.0.1"
    system: int = 1
    signing_key: str | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.port <= 65535:
            raise InvalidInput(f"a port is from 1 to 65535, got {self.port}")
        if not 1 <= self.system <= 255:
            raise InvalidInput(f"a MAVLink system is from 1 to 255, got {self.system}")

    def routes(self) -> list[tuple[int, int]]:
        """(port sent from, 0 for any; port sent to), offboard first."""
        instance = self.port - OFFBOARD_PORT
        if instance not in range(_INSTANCES) or self.port == GROUND_STATION_PORT:
            return [(0, self.port)]
        return [(_OFFBOARD_FROM + instance, self.port), (_GROUND_STATION_FROM + instance, GROUND_STATION_PORT)]

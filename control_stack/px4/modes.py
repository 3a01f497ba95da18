"""PX4's custom modes as its heartbeat and MAV_CMD_DO_SET_MODE carry them (PX4 px4_custom_mode.h)."""

from __future__ import annotations

from dataclasses import dataclass

MAIN = {"MANUAL": 1, "ALTCTL": 2, "POSCTL": 3, "AUTO": 4, "ACRO": 5, "OFFBOARD": 6, "STABILIZED": 7}
AUTO = {"READY": 1, "TAKEOFF": 2, "LOITER": 3, "MISSION": 4, "RTL": 5, "LAND": 6}


@dataclass(frozen=True)
class Mode:
    """main: PX4_CUSTOM_MAIN_MODE; sub: PX4_CUSTOM_SUB_MODE, 0 but for AUTO."""

    main: int
    sub: int = 0

    @classmethod
    def of(cls, custom_mode: int) -> Mode:
        """From a heartbeat's custom_mode: sub mode in the highest byte, main mode in the one below."""
        return cls((custom_mode >> 16) & 0xFF, (custom_mode >> 24) & 0xFF)

    @property
    def custom(self) -> int:
        """The heartbeat's custom_mode."""
        return (self.main << 16) | (self.sub << 24)

    @property
    def name(self) -> str:
        """As PX4 documents it, e.g. OFFBOARD or AUTO.LAND."""
        main = next((name for name, value in MAIN.items() if value == self.main), f"main {self.main}")
        if not self.sub:
            return main
        known = {value: name for name, value in AUTO.items()} if self.main == MAIN["AUTO"] else {}
        return f"{main}.{known.get(self.sub, self.sub)}"


OFFBOARD = Mode(MAIN["OFFBOARD"])
POSCTL = Mode(MAIN["POSCTL"])
TAKEOFF = Mode(MAIN["AUTO"], AUTO["TAKEOFF"])
LOITER = Mode(MAIN["AUTO"], AUTO["LOITER"])
RTL = Mode(MAIN["AUTO"], AUTO["RTL"])
LAND = Mode(MAIN["AUTO"], AUTO["LAND"])

FORCE = 21196.0  # magic of MAV_CMD_COMPONENT_ARM_DISARM, param 2: disarm in the air as well (common.xml)

"""The one place of this room that imports pymavlink."""

from __future__ import annotations

from typing import Any

from control_stack.errors import MissingDependency


def import_mavlink() -> Any:
    """pymavlink's MAVLink 2 ``common`` dialect. Raises MissingDependency."""
    try:
        from pymavlink.dialects.v20 import common
    except ImportError:
        raise MissingDependency("pymavlink", "hardware") from None
    return common

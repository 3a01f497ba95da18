"""Arms by name, and from files of the user's own."""

from __future__ import annotations

from pathlib import Path

from control_stack.arm.parameters import ArmParameters, parse_arm
from control_stack.arm.urdf_reader import read_urdf
from control_stack.data_file import read_text, shipped_names

_FOLDER = "vehicles/arms"


def arm_names() -> list[str]:
    """Names of the arms that ship with the package."""
    return shipped_names(_FOLDER)


def load_arm(name_or_path: str | Path) -> ArmParameters:
    """Reads a shipped arm by name, or an arm file (.yaml) or a URDF (.urdf) by path.

    Warns:
        UserWarning: Links of a URDF have no inertia, or one that looks like a placeholder; it names them.

    Raises:
        UnknownName: No such arm.
        InvalidInput: The file is missing, or what it says is not an arm.
    """
    if str(name_or_path).endswith(".urdf"):
        return read_urdf(name_or_path)
    return parse_arm(*read_text(name_or_path, "arm", _FOLDER))

"""A trajectory from the words of a command line or a parameter."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from numpy.typing import ArrayLike

from control_stack.errors import InvalidInput, UnknownName
from control_stack.protocols import Trajectory
from control_stack.trajectories.csv_file import load_csv, load_waypoints
from control_stack.trajectories.excite import Excite
from control_stack.trajectories.hover import Hover
from control_stack.trajectories.lissajous import Lissajous
from control_stack.trajectories.polynomial import finite

KNOWN = ("hover", "eight", "excite", "path/to/file.csv", "waypoints:path/to/file.csv")


def parse_trajectory(
    text: str,
    origin: ArrayLike = (0.0, 0.0, 1.0),
    yaw: float = 0.0,
    speed: float = 1.0,
    acceleration: float = 2.0,
) -> Trajectory:
    """Builds what a user asks for.

    ``hover[:duration=10]``, ``eight[:lap=5.5,size=1.0x0.5,laps=3,ramp=3]`` and
    ``excite[:size=2x2x1,period=6,duration=40]`` fly about ``origin`` (3,), m, where the vehicle hovers after
    take-off; ``file.csv`` is flown where its rows say (see ``load_csv``), and
    ``waypoints:file.csv[,speed=1,acceleration=2]`` is minimum snap from ``origin`` through its rows.

    Raises:
        UnknownName: No such trajectory or option.
        InvalidInput: A value that cannot be used; for files with file and line number.
    """
    centre = finite(origin, (3,), "origin")
    if text.endswith(".csv") and ":" not in text:
        return load_csv(Path(text))
    kind, _, rest = text.partition(":")
    if kind == "hover":
        options = _options(kind, rest, {"duration": _positive})
        return Hover(centre, yaw, **{"duration": 10.0, **options})
    if kind == "eight":
        readers = {"lap": _positive, "size": _size, "laps": _count, "ramp": _positive}
        return Lissajous(centre, yaw=yaw, **_options(kind, rest, readers))
    if kind == "excite":
        return Excite(
            centre, yaw=yaw, **_options(kind, rest, {"size": _box, "period": _positive, "duration": _positive})
        )
    if kind == "waypoints":
        path, _, rest = rest.partition(",")
        options = _options(kind, rest, {"speed": _positive, "acceleration": _positive})
        return load_waypoints(Path(path), **{"speed": speed, "acceleration": acceleration, **options}, start=centre)
    raise UnknownName("trajectory", text, KNOWN)


def _options(kind: str, text: str, readers: Mapping[str, Callable[[str], Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for item in filter(None, text.split(",")):
        key, equals, value = item.partition("=")
        if key not in readers:
            raise UnknownName(f"option of trajectory '{kind}'", key, readers)
        if not equals:
            raise InvalidInput(f"trajectory '{kind}': option '{key}' needs a value, as in {key}=...")
        if key in found:
            raise InvalidInput(f"trajectory '{kind}': option '{key}' is given twice")
        try:
            found[key] = readers[key](value)
        except ValueError:
            raise InvalidInput(f"trajectory '{kind}': {key}={value} cannot be used: {readers[key].__doc__}") from None
    return found


def _positive(value: str) -> float:
    """expected a number from 1e-6 to 1e6"""
    number = float(value)
    if not 1e-6 <= number <= 1e6:
        raise ValueError
    return number


def _count(value: str) -> int:
    """expected a whole number from 1 to 1000000"""
    number = int(value)
    if not 1 <= number <= 1_000_000:
        raise ValueError
    return number


def _size(value: str) -> tuple[float, float]:
    """expected two numbers from 1e-6 to 1e6 in metres, as 1.0x0.5"""
    a, b = value.split("x")
    return _positive(a), _positive(b)


def _box(value: str) -> tuple[float, float, float]:
    """expected three numbers from 1e-6 to 1e6 in metres, as 2x2x1"""
    a, b, c = value.split("x")
    return _positive(a), _positive(b), _positive(c)

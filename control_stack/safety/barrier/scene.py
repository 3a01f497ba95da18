"""A scene: where a vehicle may be, how fast and how far tilted, and how wrong the model may be. Read from YAML."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

from control_stack.data_file import parse_mapping
from control_stack.errors import InvalidInput, UnknownName
from control_stack.types import Array

_FAR = math.inf


@dataclass(frozen=True)
class Obstacle:
    """All points within ``radius`` of a box whose sides are along the world's axes; a side may have no length.

    Attributes:
        low, high: (3,) corners of the box, m. radius: m.
    """

    low: tuple[float, float, float]
    high: tuple[float, float, float]
    radius: float


@dataclass(frozen=True)
class Walls:
    """(lowest, highest) of x, y and z in the world, m, for the vehicle's centre; infinite where there is no wall."""

    x: tuple[float, float] = (-_FAR, _FAR)
    y: tuple[float, float] = (-_FAR, _FAR)
    z: tuple[float, float] = (-_FAR, _FAR)


@dataclass(frozen=True)
class Bounds:
    """What is not exceeded. None: as the vehicle file has it.

    Attributes:
        speed: m/s. tilt: rad. acceleration: at which it counts on braking, m/s^2.
    """

    speed: float | None = None
    tilt: float | None = None
    acceleration: float | None = None


@dataclass(frozen=True)
class Margin:
    """What the model does not know.

    Attributes:
        distance: m kept from everything, beside the vehicle's own size.
        wind: Speed of the air, m/s, that may blow from anywhere at any time.
        model: Further unknown acceleration, m/s^2; in a file it may be the path of a ``learned_margin``.
        radius: Of a ball about the vehicle, m; None: half the diagonal of its ``body_size``.
        vehicle: That ``model`` was measured with; None: it was typed.
    """

    distance: float = 0.05
    wind: float = 0.0
    model: float = 0.3
    radius: float | None = None
    vehicle: str | None = None


@dataclass(frozen=True)
class BarrierGains:
    """How hard the filter lets a vehicle approach, 1/s.

    Attributes:
        distance: Speed of approach that is left per m of distance, close by.
        speed: At which the speed of approach may rise to what is left.
    """

    distance: float = 4.0
    speed: float = 8.0


@dataclass(frozen=True)
class Scene:
    """What a filter guards. ``load_scene`` reads one from a file."""

    name: str
    fence: Walls = field(default_factory=Walls)
    obstacles: tuple[Obstacle, ...] = ()
    bounds: Bounds = field(default_factory=Bounds)
    margin: Margin = field(default_factory=Margin)
    gains: BarrierGains = field(default_factory=BarrierGains)

    def clearance(self, position_w: Array) -> Array:
        """(...) m from positions (..., 3) to the nearest wall or surface, below zero where it is beyond or inside."""
        p = np.asarray(position_w, dtype=float)
        walls = np.array([self.fence.x, self.fence.y, self.fence.z])
        least = np.minimum(p - walls[:, 0], walls[:, 1] - p).min(axis=-1)
        for obstacle in self.obstacles:
            least = np.minimum(least, distance_to(obstacle, p))
        return np.asarray(least)

    def check_inside(self, position_w: Array, radius: float, what: str) -> None:
        """Raises InvalidInput where a vehicle of this radius (m) at (3,) would break the scene."""
        p = np.asarray(position_w, dtype=float)
        x, y, z = (round(float(v), 3) for v in p)
        for axis, (low, high), value in zip("xyz", (self.fence.x, self.fence.y, self.fence.z), p, strict=True):
            if not low + self.margin.distance <= value <= high - self.margin.distance:
                raise InvalidInput(
                    f"scene {self.name}: {what} ({x:g}, {y:g}, {z:g}) m is outside its fence, {low:g} to {high:g} m in "
                    f"{axis}, or within {self.margin.distance:g} m of it"
                )
        for k, obstacle in enumerate(self.obstacles):
            gap = float(distance_to(obstacle, p)) - radius
            if gap < self.margin.distance:
                raise InvalidInput(
                    f"scene {self.name}: {what} ({x:g}, {y:g}, {z:g}) m is {gap:.3g} m from obstacle {k}, less than "
                    f"the {self.margin.distance:g} m that are kept"
                )


def distance_to(obstacle: Obstacle, position_w: Array) -> Array:
    """(...) m from positions (..., 3) to an obstacle's surface; below zero inside."""
    p, low, high = np.asarray(position_w, dtype=float), np.array(obstacle.low), np.array(obstacle.high)
    outside = np.linalg.norm(p - np.clip(p, low, high), axis=-1)
    depth = np.minimum(p - low, high - p).min(axis=-1)
    return np.asarray(np.where(outside > 0.0, outside, -np.maximum(depth, 0.0)) - obstacle.radius)


def load_scene(path: str | Path) -> Scene:
    """Reads a scene. Raises InvalidInput or UnknownName for what cannot be meant, with file and key."""
    file = Path(path)
    if not file.is_file():
        raise InvalidInput(f"scene file {file} {'is a folder' if file.is_dir() else 'does not exist'}")
    try:
        text = file.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise InvalidInput(f"scene file {file} is not UTF-8 text") from None
    return parse_scene(text, str(file), file.parent)


def parse_scene(text: str, origin: str, folder: Path | None = None) -> Scene:
    """As ``load_scene``, of a text; ``origin`` names it in messages, ``folder`` is where paths in it begin."""
    data = parse_mapping(text, origin)
    _known(data, ("name", "fence", "obstacles", "limits", "margin", "gains"), origin)
    listed = data.get("obstacles", [])
    if not isinstance(listed, list):
        raise InvalidInput(f"{origin}: obstacles must be a list")
    return Scene(
        name=data["name"],
        fence=_fence(_mapping(data, "fence", origin), f"{origin}: fence"),
        obstacles=tuple(_obstacle(entry, f"{origin}: obstacle {k}") for k, entry in enumerate(listed)),
        bounds=Bounds(**_numbers(data, "limits", Bounds, origin, lowest=1e-3)),
        margin=_margin(data, origin, folder or Path()),
        gains=BarrierGains(**_numbers(data, "gains", BarrierGains, origin, lowest=1e-2)),
    )


def _mapping(data: Mapping[str, Any], key: str, origin: str) -> dict[str, Any]:
    value = data.get(key, {})
    if not isinstance(value, dict):
        raise InvalidInput(f"{origin}: {key} must be a mapping")
    return value


def _known(data: Mapping[str, Any], keys: tuple[str, ...], origin: str) -> None:
    for key in data:
        if key not in keys:
            raise UnknownName(f"key in {origin}", str(key), keys)


def _number(value: Any, place: str, lowest: float = -math.inf) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < lowest:
        least = f" of at least {lowest:g}" if lowest > -math.inf else ""
        raise InvalidInput(f"{place} must be a finite number{least}, got {value!r}")
    return float(value)


def _vector(value: Any, size: int, place: str) -> tuple[float, ...]:
    if not isinstance(value, list) or len(value) != size:
        raise InvalidInput(f"{place} must be a list of {size} numbers, got {value!r}")
    return tuple(_number(v, place) for v in value)


def _numbers(data: Mapping[str, Any], key: str, kind: type, origin: str, lowest: float) -> dict[str, float]:
    given = _mapping(data, key, origin)
    _known(given, tuple(f.name for f in fields(kind)), f"{origin}: {key}")
    return {name: _number(value, f"{origin}: {key}: {name}", lowest) for name, value in given.items()}


def _margin(data: Mapping[str, Any], origin: str, folder: Path) -> Margin:
    given = _mapping(data, "margin", origin)
    if "vehicle" in given:
        raise UnknownName(f"key in {origin}: margin", "vehicle", ("distance", "wind", "model", "radius"))
    path = given.get("model")
    if not isinstance(path, str):
        return Margin(**_numbers(data, "margin", Margin, origin, lowest=0.0))  # type: ignore[arg-type]
    from control_stack.safety.barrier.learned_margin import read

    try:
        found = read(folder / path)
    except InvalidInput as error:
        raise InvalidInput(f"{origin}: margin: model: {error}") from None
    rest = {"margin": {key: value for key, value in given.items() if key != "model"}}
    numbers = {**_numbers(rest, "margin", Margin, origin, lowest=0.0), "model": found.acceleration}
    return Margin(**numbers, vehicle=found.vehicle)  # type: ignore[arg-type]


def _fence(given: dict[str, Any], place: str) -> Walls:
    _known(given, ("x", "y", "z"), place)
    walls = {axis: _vector(value, 2, f"{place}: {axis}") for axis, value in given.items()}
    for axis, (low, high) in walls.items():
        if low >= high:
            raise InvalidInput(f"{place}: {axis} must be [lowest, highest], got [{low:g}, {high:g}]")
    return Walls(**walls)  # type: ignore[arg-type]


def _sphere(entry: dict[str, Any], place: str) -> Obstacle:
    centre = _vector(entry["sphere"], 3, f"{place}: sphere")
    return Obstacle(centre, centre, _radius(entry, place))  # type: ignore[arg-type]


def _cylinder(entry: dict[str, Any], place: str) -> Obstacle:
    """Upright; rounded at its ends by its own radius, which makes it larger, never smaller."""
    x, y = _vector(entry["cylinder"], 2, f"{place}: cylinder")
    low, high = _vector(entry["z"], 2, f"{place}: z") if "z" in entry else (-_FAR, _FAR)
    if low >= high:
        raise InvalidInput(f"{place}: z must be [lowest, highest], got [{low:g}, {high:g}]")
    return Obstacle((x, y, low), (x, y, high), _radius(entry, place))


def _box(entry: dict[str, Any], place: str) -> Obstacle:
    corners = entry["box"]
    if not isinstance(corners, list) or len(corners) != 2:
        raise InvalidInput(f"{place}: box must be two corners, [[x, y, z], [x, y, z]]")
    low, high = (_vector(corner, 3, f"{place}: box") for corner in corners)
    if any(a >= b for a, b in zip(low, high, strict=True)):
        raise InvalidInput(f"{place}: box: the first corner must be below the second in x, y and z")
    return Obstacle(low, high, 0.0)  # type: ignore[arg-type]


def _radius(entry: dict[str, Any], place: str) -> float:
    if "radius" not in entry:
        raise InvalidInput(f"{place}: radius is missing")
    return _number(entry["radius"], f"{place}: radius", 1e-3)


_SHAPES: dict[str, tuple[Callable[[dict[str, Any], str], Obstacle], tuple[str, ...]]] = {
    "sphere": (_sphere, ("sphere", "radius")),
    "cylinder": (_cylinder, ("cylinder", "radius", "z")),
    "box": (_box, ("box",)),
}


def _obstacle(entry: Any, place: str) -> Obstacle:
    shapes = [name for name in _SHAPES if isinstance(entry, dict) and name in entry]
    if len(shapes) != 1:
        raise InvalidInput(f"{place} must be a mapping with one of {', '.join(_SHAPES)}")
    make, keys = _SHAPES[shapes[0]]
    _known(entry, keys, place)
    return make(entry, place)

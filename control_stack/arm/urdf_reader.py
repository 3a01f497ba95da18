"""Reads an arm out of a URDF, and says which of its inertias nobody measured."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import numpy as np

from control_stack.arm.friction import Friction
from control_stack.arm.load import is_physical
from control_stack.arm.parameters import ArmParameters, check_arm, rotation_of_rpy
from control_stack.errors import InvalidInput
from control_stack.types import Array

_TURNING = ("revolute", "continuous")
_ON_PATH = (*_TURNING, "fixed")
_BESIDE_PATH = (*_ON_PATH, "prismatic")
_COULOMB_STEEPNESS = 40.0  # s/rad: <dynamics friction> is smoothed over 0.1 rad/s
_RADIUS = 0.05  # m, of the cylinders in pictures: a URDF's meshes are not read


@dataclass(frozen=True)
class _Body:
    """Mass (kg), centre of mass (m) and inertia about it (kg m^2), in some frame."""

    mass: float
    centre: Array
    inertia: Array

    def placed(self, rotation: Array, offset: Array) -> _Body:
        return _Body(self.mass, rotation @ self.centre + offset, rotation @ self.inertia @ rotation.T)

    def with_body(self, other: _Body) -> _Body:
        total = self.mass + other.mass
        if total == 0.0:
            return self
        apart = other.centre - self.centre
        spread = self.mass * other.mass / total * (apart @ apart * np.eye(3) - np.outer(apart, apart))
        centre = (self.mass * self.centre + other.mass * other.centre) / total
        return _Body(total, centre, self.inertia + other.inertia + spread)


_NOTHING = _Body(0.0, np.zeros(3), np.zeros((3, 3)))


def read_urdf(path: str | Path, tip: str | None = None) -> ArmParameters:
    """The chain from the root of a URDF to ``tip`` (default: the link furthest down with most turning joints).

    Frames are turned so that each joint's axis is z. What hangs on the chain by fixed joints is added to the
    link that carries it; other moving joints (fingers) are taken as fixed at 0, and named in a warning.
    <mimic>, meshes and transmissions are not read.

    Warns:
        UserWarning: Links without inertia, or with one that looks like a placeholder; it names them.

    Raises:
        InvalidInput: The file is missing, not a URDF, not a tree, or has no turning joint on the way to the tip.
    """
    file = Path(path)
    if not file.is_file():
        raise InvalidInput(f"URDF {file} {'is a folder' if file.is_dir() else 'does not exist'}")
    try:
        root = ElementTree.parse(file).getroot()
    except ElementTree.ParseError as error:
        raise InvalidInput(f"{file}: not valid XML: {error}") from None
    return _Reader(root, str(file)).arm(tip)


class _Reader:
    def __init__(self, root: Element, origin: str):
        if root.tag != "robot":
            raise InvalidInput(f"{origin}: not a URDF, its root is <{root.tag}>")
        self._origin, self._name = origin, root.get("name") or Path(origin).stem
        self._links = {link.get("name", ""): link for link in root.findall("link")}
        self._children: dict[str, list[Element]] = {name: [] for name in self._links}
        self._above: dict[str, Element] = {}
        for joint in root.findall("joint"):
            parent, child = (self._end(joint, end) for end in ("parent", "child"))
            if joint.get("type") not in _BESIDE_PATH:
                raise InvalidInput(f"{origin}: joint '{joint.get('name')}' is {joint.get('type')}: not of an arm")
            if child in self._above:
                raise InvalidInput(f"{origin}: link '{child}' hangs on two joints")
            self._children[parent].append(joint)
            self._above[child] = joint
        self._locked: list[str] = []

    def arm(self, tip: str | None) -> ArmParameters:
        path = self._path(self._best_tip() if tip is None else tip)
        turning = [joint for joint in path if joint.get("type") in _TURNING]
        if not turning:
            raise InvalidInput(f"{self._origin}: no turning joint on the way to the tip")
        on_path = {self._end(joint, "child") for joint in path}
        names: list[str] = []
        columns: dict[str, list] = {key: [] for key in ("offset", "rotation", "body", "limit", "drag")}
        # From the frame of the last link that turned (z along its axis) to the link at hand.
        rotation, offset = np.eye(3), np.zeros(3)
        for joint in path:
            turn, shift = self._placement(joint)
            offset, rotation = offset + rotation @ shift, rotation @ turn
            child = self._end(joint, "child")
            if joint.get("type") in _TURNING:
                names.append(joint.get("name", child))
                along = _turn_z_to(self._axis(joint))
                columns["offset"].append(offset)
                columns["rotation"].append(rotation @ along)
                columns["limit"].append(self._limit(joint))
                columns["drag"].append(self._drag(joint))
                columns["body"].append(_NOTHING)
                rotation, offset = along.T, np.zeros(3)
            if names:  # what the base carries never moves
                body = self._carried(child, on_path).placed(rotation, offset)
                columns["body"][-1] = columns["body"][-1].with_body(body)
        self._warn()
        n, bodies, limits = len(names), columns["body"], np.array(columns["limit"])
        coulomb, viscous = np.array(columns["drag"]).T
        low, high = limits[:, 0], limits[:, 1]
        arm = ArmParameters(
            name=self._name,
            joint_names=tuple(names),
            joint_origin=np.array(columns["offset"]),
            joint_rotation=np.array(columns["rotation"]),
            flange_origin=offset,
            flange_rotation=rotation,
            mass=np.array([body.mass for body in bodies]),
            centre_of_mass=np.array([body.centre for body in bodies]),
            inertia=np.array([body.inertia for body in bodies]),
            position_lower=low,
            position_upper=high,
            velocity_limit=limits[:, 2],
            acceleration_limit=np.full(n, np.inf),
            torque_limit=limits[:, 3],
            friction=Friction(tuple((2.0 * coulomb).tolist()), (_COULOMB_STEEPNESS,) * n, (0.0,) * n, tuple(viscous)),
            home=np.clip(np.zeros(n), low, high),
            radius=np.full(n, _RADIUS),
        )
        check_arm(arm, self._origin)
        return arm

    def _end(self, joint: Element, end: str) -> str:
        element = joint.find(end)
        name = "" if element is None else element.get("link", "")
        if name not in self._links:
            raise InvalidInput(f"{self._origin}: joint '{joint.get('name')}' has no {end} link '{name}'")
        return name

    def _best_tip(self) -> str:
        ways = {link: [joint.get("type") for joint in self._way(link)] for link in self._links}
        fit = {link: kinds for link, kinds in ways.items() if all(kind in _ON_PATH for kind in kinds)}
        if not fit:
            raise InvalidInput(f"{self._origin}: no links")
        return max(fit, key=lambda link: (sum(kind in _TURNING for kind in fit[link]), len(fit[link])))

    def _path(self, tip: str) -> list[Element]:
        if tip not in self._links:
            raise InvalidInput(f"{self._origin}: no link '{tip}'; the file has: {', '.join(self._links)}")
        path = self._way(tip)
        for joint in path:
            if joint.get("type") not in _ON_PATH:
                kind, name = joint.get("type"), joint.get("name")
                raise InvalidInput(f"{self._origin}: joint '{name}' is {kind}; arms here have turning and fixed joints")
        return path

    def _way(self, link: str) -> list[Element]:
        """Joints from the root to a link."""
        path: list[Element] = []
        while link in self._above:
            if len(path) > len(self._links):
                raise InvalidInput(f"{self._origin}: the links form a loop at '{link}'")
            path.append(self._above[link])
            link = self._end(path[-1], "parent")
        return path[::-1]

    def _carried(self, link: str, on_path: set[str]) -> _Body:
        """The link and all that hangs on it beside the path, in the link's frame."""
        body = self._body(link)
        for joint in self._children[link]:
            child = self._end(joint, "child")
            if child in on_path:
                continue
            if joint.get("type") != "fixed":
                self._locked.append(str(joint.get("name")))
            body = body.with_body(self._carried(child, on_path).placed(*self._placement(joint)))
        return body

    def _body(self, link: str) -> _Body:
        inertial = self._links[link].find("inertial")
        if inertial is None:
            return _NOTHING
        rotation, offset = self._placement(inertial)
        mass, about = inertial.find("mass"), inertial.find("inertia")
        value = self._number(mass, "value", f"mass of link '{link}'", 0.0)
        pairs = ("ixx", "ixy", "ixz", "ixy", "iyy", "iyz", "ixz", "iyz", "izz")
        entries = [self._number(about, pair, f"inertia of link '{link}'", 0.0) for pair in pairs]
        return _Body(value, offset, rotation @ np.reshape(entries, (3, 3)) @ rotation.T)

    def _warn(self) -> None:
        """Names the moving links whose inertia is missing or looks as if nobody had measured it."""
        moved = {self._end(joint, "child") for joint in self._above.values() if joint.get("type") in _TURNING}
        missing, doubtful, seen = [], [], {}
        for link in self._links:
            body = self._body(link)
            if link in moved and (body.mass == 0.0 or not body.inertia.any()):
                missing.append(link)
            elif body.mass > 0.0:
                moments = np.diag(body.inertia)
                alike = np.ptp(moments) == 0.0 and np.count_nonzero(body.inertia) == 3
                key = (body.mass, *body.inertia.ravel().tolist())
                if not is_physical(body.inertia) or (alike and not body.centre.any()) or (alike and key in seen):
                    doubtful.append(link)
                seen[key] = link
        for links, what in ((missing, "no inertia"), (doubtful, "inertias that look like placeholders")):
            if links:
                warnings.warn(f"{self._origin}: {what}: {', '.join(links)}", UserWarning, stacklevel=5)
        if self._locked:
            names = ", ".join(self._locked)
            warnings.warn(f"{self._origin}: taken as fixed at 0: {names}", UserWarning, stacklevel=5)

    def _placement(self, element: Element) -> tuple[Array, Array]:
        origin = element.find("origin")
        if origin is None:
            return np.eye(3), np.zeros(3)
        return rotation_of_rpy(self._vector(origin, "rpy")), self._vector(origin, "xyz")

    def _axis(self, joint: Element) -> Array:
        element = joint.find("axis")
        axis = np.array([1.0, 0.0, 0.0]) if element is None else self._vector(element, "xyz")
        length = float(np.linalg.norm(axis))
        if length == 0.0:
            raise InvalidInput(f"{self._origin}: joint '{joint.get('name')}' has no axis")
        return axis / length

    def _limit(self, joint: Element) -> tuple[float, float, float, float]:
        """Lower, upper, speed, torque; inf where the file gives none, or 0, which nothing could move under."""
        limit, place = joint.find("limit"), f"limit of joint '{joint.get('name')}'"
        speed, torque = (self._number(limit, key, place, 0.0) or math.inf for key in ("velocity", "effort"))
        if joint.get("type") == "continuous" or limit is None:
            return -math.inf, math.inf, speed, torque
        return self._number(limit, "lower", place, 0.0), self._number(limit, "upper", place, 0.0), speed, torque

    def _drag(self, joint: Element) -> tuple[float, float]:
        element, place = joint.find("dynamics"), f"dynamics of joint '{joint.get('name')}'"
        return self._number(element, "friction", place, 0.0), self._number(element, "damping", place, 0.0)

    def _number(self, element: Element | None, key: str, place: str, default: float) -> float:
        text = None if element is None else element.get(key)
        if text is None:
            return default
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise InvalidInput(f"{self._origin}: {place}: {key} is '{text}', not a number")
        return value

    def _vector(self, element: Element, key: str) -> Array:
        text = element.get(key, "0 0 0")
        try:
            value = np.array([float(part) for part in text.split()])
        except ValueError:
            value = np.empty(0)
        if value.shape != (3,) or not np.isfinite(value).all():
            raise InvalidInput(f'{self._origin}: {key}="{text}" is not three numbers')
        return value


def _turn_z_to(axis: Array) -> Array:
    """(3, 3) a rotation whose third column is the axis; none where it is z already."""
    if np.allclose(axis, [0.0, 0.0, 1.0], atol=1e-12):
        return np.eye(3)
    aside = np.eye(3)[int(np.argmin(np.abs(axis)))]
    x = np.cross(aside, axis)
    x /= np.linalg.norm(x)
    return np.stack([x, np.cross(axis, x), axis], axis=1)

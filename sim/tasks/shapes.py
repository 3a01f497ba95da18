"""Objects that are pushed: their parts, their keypoints, and how far from the centre friction acts.

Bullet rounds the corners of a rectangle by a tenth of its least half size, here 1.5 to 2.5 mm.
Body frames have their origin in the centre of mass, where the support force acts as well; SI, radians.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from control_stack.types import Array

_GRID = 400  # cells along a rectangle's side for the mean distance


@dataclass(frozen=True)
class Shape:
    """A rigid body that slides on the plane: a disc, or rectangles joined together.

    Attributes:
        keypoint_names: Of the keypoints.
        keypoints: (K, 2) in the body frame, m.
        radius: Of a disc, m; 0 for one made of rectangles.
        rectangles: (centre x, centre y, half width, half height) of each, m.
    """

    keypoint_names: tuple[str, ...]
    keypoints: Array
    radius: float = 0.0
    rectangles: tuple[tuple[float, float, float, float], ...] = ()

    @property
    def extent(self) -> float:
        """Radius about the origin that holds all of it, m."""
        if self.radius:
            return self.radius
        return max(math.hypot(abs(x) + a, abs(y) + b) for x, y, a, b in self.rectangles)

    @property
    def friction_length(self) -> float:
        """c = (largest friction torque) / (largest friction force), m, under uniform pressure: the mean distance
        of the area from the centre; 2 R / 3 for a disc, 0.383 times the side for a square.

        Source: Goyal, Ruina, Papadopoulos, "Planar sliding with dry friction", Wear 1991.
        """
        if self.radius:
            return 2.0 * self.radius / 3.0
        middle = (np.arange(_GRID) + 0.5) / _GRID * 2.0 - 1.0
        areas = np.array([a * b for _, _, a, b in self.rectangles])
        means = [np.hypot(x + a * middle[:, None], y + b * middle).mean() for x, y, a, b in self.rectangles]
        return float(areas @ np.array(means) / areas.sum())

    def outlines(self, points: Array) -> list[Array]:
        """Closed curves (M, 2) of the parts, for a picture, with the keypoints at ``points`` (K, 2)."""
        pose = self.pose(points)
        if self.radius:
            turn = np.linspace(0.0, 2.0 * np.pi, 49)
            return [self.radius * np.stack([np.cos(turn), np.sin(turn)], axis=1) + pose[:2]]
        corners = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1), (-1, -1)], dtype=float)
        return [placed(corners * (a, b) + (x, y), pose) for x, y, a, b in self.rectangles]

    def pose(self, points: Array) -> Array:
        """(x, y, angle) that fits keypoints (K, 2) best (least squares); the angle is 0 with a single one."""
        mean, centre = self.keypoints.mean(axis=0), points.mean(axis=0)
        if len(points) == 1:
            return np.array([*(centre - mean), 0.0])
        body, world = self.keypoints - mean, points - centre
        cross = np.sum(body[:, 0] * world[:, 1] - body[:, 1] * world[:, 0])
        angle = math.atan2(cross, np.sum(body * world))
        return np.array([*(centre - placed(mean, np.array([0.0, 0.0, angle]))), angle])


def placed(points: Array, pose: Array) -> Array:
    """Points (..., 2) of the body frame in the world, for a pose (x, y, angle)."""
    cos, sin = math.cos(pose[2]), math.sin(pose[2])
    return points @ np.array([[cos, sin], [-sin, cos]]) + pose[:2]


def disc(radius: float) -> Shape:
    """A disc; its keypoint is the centre: how it is turned cannot be seen and does not matter."""
    return Shape(("centre",), np.zeros((1, 2)), radius=radius)


def box(side: float) -> Shape:
    """A square; its keypoints are the corners, from the first quadrant on, counterclockwise."""
    h = side / 2.0
    corners = np.array([(h, h), (-h, h), (-h, -h), (h, -h)])
    return Shape(tuple(f"corner_{k}" for k in range(4)), corners, rectangles=((0.0, 0.0, h, h),))


def tee(bar: float, stem: float, thickness: float) -> Shape:
    """The letter T; its keypoints are the ends of the bar (left, right) and the foot of the stem.

    Args:
        bar: Length of the bar, m.
        stem: Length of the stem below the bar, m.
        thickness: Of both, m.
    """
    # From the bar's centre the stem's lies lower by half of both heights; then move the origin to the centroid.
    drop = (thickness + stem) / 2.0
    rise = drop * stem / (stem + bar)
    parts = ((0.0, rise, bar / 2.0, thickness / 2.0), (0.0, rise - drop, thickness / 2.0, stem / 2.0))
    points = np.array([(-bar / 2.0, rise), (bar / 2.0, rise), (0.0, rise - drop - stem / 2.0)])
    return Shape(("left", "right", "foot"), points, rectangles=parts)

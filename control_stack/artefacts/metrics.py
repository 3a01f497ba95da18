"""Figures of a flight, from arrays: tracking error, landing, periods. Pure functions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from control_stack.errors import InvalidInput
from control_stack.types import Array

MAX_LANDED_TILT = np.radians(10.0)
MAX_LANDED_SPEED = 0.1  # m/s
LANDED_HEIGHT = 0.05  # m above the height at which the vehicle rests
CONTACT_HEIGHT = 0.02  # m above rest, where a descent counts as touchdown


def tracking_metrics(
    t: ArrayLike,
    position: ArrayLike,
    reference_position: ArrayLike,
    interval: tuple[float, float] | None = None,
) -> dict[str, float]:
    """Position error of a flight over ``interval`` (s, its start included, its end not; None for all of it).

    rmse = sqrt(mean |p - p_ref|^2), max = max |p - p_ref|. Times (n,) s, positions (n, 3) m at these times.
    Both are NaN when no sample falls into the interval, and when a sample in it is NaN: never a figure of
    less than what was asked for.

    Raises:
        InvalidInput: The shapes do not agree.
    """
    times, flown, wanted = (np.asarray(a, dtype=float) for a in (t, position, reference_position))
    if times.ndim != 1 or flown.shape != (len(times), 3) or wanted.shape != flown.shape:
        raise InvalidInput(f"tracking metrics of shapes {times.shape}, {flown.shape} and {wanted.shape}")
    error = np.linalg.norm(flown - wanted, axis=1)
    if interval is not None:
        error = error[(times >= interval[0]) & (times < interval[1])]
    rmse, peak = (np.sqrt(np.mean(error**2)), np.max(error)) if len(error) else (np.nan, np.nan)
    return {"position_rmse_m": float(rmse), "position_max_error_m": float(peak)}


def interpolated_at(t: ArrayLike, sample_t: ArrayLike, samples: ArrayLike, max_gap: float = np.inf) -> Array:
    """Samples (m, k) at increasing times (m,) s, linearly between neighbours, at the times t (n,): (n, k).

    NaN where the neighbours are further apart than max_gap, s, and further than that outside the samples;
    nearer than that the end sample is held. Between samples the error is at most a dt^2 / 8: 0.06 mm for a
    100 Hz reference of 5 m/s^2.
    """
    times, known = np.asarray(t, dtype=float), np.asarray(sample_t, dtype=float)
    values = np.asarray(samples, dtype=float)
    out = np.full((len(times), *values.shape[1:]), np.nan)
    if not len(known):
        return out
    right = np.clip(np.searchsorted(known, times), 1, max(len(known) - 1, 1))
    left = right - 1
    right = np.minimum(right, len(known) - 1)
    span = known[right] - known[left]
    part = np.clip((times - known[left]) / np.where(span > 0.0, span, 1.0), 0.0, 1.0)
    outside = np.maximum(known[0] - times, times - known[-1])
    good = np.where(outside > 0.0, outside, span) <= max_gap
    weight = part.reshape(-1, *([1] * (values.ndim - 1)))
    out[good] = ((1.0 - weight) * values[left] + weight * values[right])[good]
    return out


def tilt(quat_xyzw: ArrayLike) -> Array:
    """Angle between the body's z axis and the vertical, rad: arccos(1 - 2 (x^2 + y^2)). (..., 4) -> (...)."""
    quat = np.asarray(quat_xyzw, dtype=float)
    return np.arccos(np.clip(1.0 - 2.0 * (quat[..., 0] ** 2 + quat[..., 1] ** 2), -1.0, 1.0))


@dataclass(frozen=True)
class Landing:
    """How a flight ended.

    Attributes:
        upright: On the ground, at rest and tilted less than 10 degrees.
        tilt: rad, speed: m/s, height: m above rest, at the end.
        touchdown_t: When it last came down, s; NaN if it never left the ground or never came back.
        touchdown_speed: Sinking speed then, m/s.
    """

    upright: bool
    tilt: float
    speed: float
    height: float
    touchdown_t: float
    touchdown_speed: float


def landing(
    t: ArrayLike,
    position_w: ArrayLike,
    velocity_w: ArrayLike,
    quat_xyzw: ArrayLike,
    rest_height: float | None = None,
) -> Landing:
    """Judges the end of a flight by its last sample, and its touchdown by the last way down to the ground.

    ``rest_height`` is the z (m) at which the vehicle stands on the ground; by default that of the first
    sample, which suits a log that starts before take-off. Non-finite last samples are not upright.

    Raises:
        InvalidInput: No samples.
    """
    times, place, velocity, quat = (np.asarray(a, dtype=float) for a in (t, position_w, velocity_w, quat_xyzw))
    if not len(times):
        raise InvalidInput("a flight without samples has no landing")
    height = place[:, 2] - (float(place[0, 2]) if rest_height is None else rest_height)
    angle, speed = float(tilt(quat[-1])), float(np.linalg.norm(velocity[-1]))
    upright = bool(angle < MAX_LANDED_TILT and speed < MAX_LANDED_SPEED and height[-1] < LANDED_HEIGHT)
    above = np.flatnonzero(height > CONTACT_HEIGHT)
    down = int(above[-1]) if len(above) and above[-1] + 1 < len(times) else None
    touchdown_t, touchdown_speed = (times[down], -velocity[down, 2]) if down is not None else (np.nan, np.nan)
    return Landing(upright, angle, speed, float(height[-1]), float(touchdown_t), float(touchdown_speed))


def period_statistics(stamps: ArrayLike) -> dict[str, float]:
    """p50, p99 and longest time between successive stamps (n,), s; NaN for fewer than two."""
    periods = np.diff(np.asarray(stamps, dtype=float))
    p50, p99, longest = (np.percentile(periods, [50.0, 99.0, 100.0]) if len(periods) else np.full(3, np.nan)).tolist()
    return {"period_p50_s": p50, "period_p99_s": p99, "period_max_s": longest}

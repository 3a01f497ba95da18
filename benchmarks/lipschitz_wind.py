"""A Crazyflie that keeps its height in wind, many flights at once: what the tube's bench flies.

The full model of the core (rigid body, rotors, drag) at 400 Hz under the vehicle file's own attitude and rate loops.
Commanded every ``DT`` is the horizontal part F of the thrust vector over mass; a plain law holds the height.

    x = [p_x p_y v_x v_y f_x f_y r_x r_y],  u = [F_x F_y]

with f the thrust vector in force over mass, and r the acceleration that it gains a second by turning.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from control_stack.algebra import body_axes, norm, quat_from_axes
from control_stack.laws.attitude import desired_attitude
from control_stack.laws.cascade import InnerLoops
from control_stack.protocols import DynamicsSpec
from control_stack.quadrotor.dynamics import rk4_step, rotor_thrust, rotor_wrench
from control_stack.quadrotor.parameters import GRAVITY, load_vehicle
from control_stack.types import Array, CommandLevel
from sim.wind import Wind, WindConfig

DT, PHYSICS_DT, GUST_DT = 0.1, 0.0025, 0.02
STEADY, GUSTS = 1.0, 1.0  # m/s: the fastest steady wind, from any side, and W20 of the Dryden gusts
HEIGHT = 1.0  # m
_STIFF, _DAMPED = 6.0, 4.0  # of the height, 1/s^2 and 1/s
SPEC = DynamicsSpec(
    tuple(f"{name}.{axis} [{unit}]" for name, unit in
          (("position_w", "m"), ("velocity_w", "m/s"), ("thrust_w", "m/s^2"), ("turning_w", "m/s^3")) for axis in "xy"),
    ("thrust_command_w.x [m/s^2]", "thrust_command_w.y [m/s^2]"), (), np.zeros(0), DT,
)  # fmt: skip
Law = Callable[[int, Array], Array]  # step, states (N, 8) -> inputs (N, 2)


@dataclass(frozen=True)
class Flown:
    """states: (N, steps + 1, 8). inputs: (N, steps, 2) as they were commanded. path: (N, n, 2) m at ``PHYSICS_DT``."""

    states: Array
    inputs: Array
    path: Array


def winds(random: np.random.Generator, count: int, steps: int) -> Array:
    """(count, n, 3) m/s every ``GUST_DT``: flights of one law, each with a steady wind and gusts of its own."""
    found = []
    for _ in range(count):
        angle, speed = random.uniform(0.0, 2.0 * np.pi), random.uniform(0.0, STEADY)
        config = WindConfig((speed * np.cos(angle), speed * np.sin(angle), 0.0), wind_20ft=GUSTS)
        found.append(Wind(config, GUST_DT, random).sample(round(steps * DT / GUST_DT)))
    return np.stack(found)


def calm(count: int, steps: int) -> Array:
    """As ``winds``, of still air."""
    return np.zeros((count, round(steps * DT / GUST_DT), 3))


def fly(starts: Array, wind: Array, law: Law, steps: int) -> Flown:
    """Flights from rest at (N, 2) m, at hover.

    Args:
        wind: (N, n, 3). law: Asked every ``DT`` for all flights.
    """
    vehicle = load_vehicle("crazyflie")
    loops, airframe, mass, count = InnerLoops.of(vehicle), vehicle.airframe, float(vehicle.mass), len(starts)
    zero, one = np.zeros(count), np.ones(count)
    x = (starts[:, 0], starts[:, 1], HEIGHT * one, zero, zero, zero, zero, zero, zero, one, zero, zero, zero,
         *(vehicle.hover_rotor_speed * one,) * 4)  # fmt: skip
    each, hold = round(DT / PHYSICS_DT), round(GUST_DT / PHYSICS_DT)
    states, inputs, path = [seen(x, airframe, mass)], [], []
    for k in range(steps):
        wanted = np.asarray(law(k, states[-1]), dtype=float)
        inputs.append(wanted)
        up = GRAVITY + _STIFF * (HEIGHT - x[2]) - _DAMPED * x[5]
        force = (wanted[:, 0], wanted[:, 1], up)
        command = (*quat_from_axes(*desired_attitude(force, zero)), mass * norm(force), zero, zero, zero)
        for j in range(each):
            air = wind[:, (k * each + j) // hold]
            rotors = loops.rotor_command(CommandLevel.ATTITUDE, command, x)
            x = rk4_step(x, rotors, airframe, PHYSICS_DT, (*air.T, *(zero,) * 6))
            path.append(np.stack(x[:2], -1))
        states.append(seen(x, airframe, mass))
    return Flown(np.stack(states, 1), np.stack(inputs, 1), np.stack(path, 1))


def seen(x: tuple[Array, ...], airframe: object, mass: float) -> Array:
    """(N, 8) of the model's states, of 17 components."""
    total, _ = rotor_wrench(rotor_thrust(x[13:17], airframe), airframe)  # type: ignore[arg-type]
    along, left, up = body_axes(x[6:10])  # type: ignore[arg-type]
    specific = total / mass
    turning = tuple(specific * (x[11] * along[k] - x[10] * left[k]) for k in range(2))
    return np.stack([*x[0:2], *x[3:5], *(specific * up[k] for k in range(2)), *turning], -1)

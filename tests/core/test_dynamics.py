"""The equations of motion against mechanics: closed forms, conservation, symmetry, convergence."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from control_stack.algebra import rotate
from control_stack.quadrotor.dynamics import derivative, rk4_step, rotor_acceleration, rotor_wrench
from control_stack.quadrotor.model import QuadrotorDynamics
from control_stack.quadrotor.parameters import GRAVITY, QuadrotorParameters

REST = (0.0,) * 3 + (0.0,) * 3 + (0.0, 0.0, 0.0, 1.0) + (0.0,) * 3 + (0.0,) * 4


def fly(parameters: QuadrotorParameters, x, u, duration: float, dt: float, p=(0.0,) * 9) -> tuple:
    """State after whole steps of dt."""
    for _ in range(round(duration / dt)):
        x = rk4_step(x, u, parameters.airframe, dt, p)
    return x


def without_drag(parameters: QuadrotorParameters) -> QuadrotorParameters:
    return replace(parameters, drag=np.zeros(3))


def state(**parts) -> tuple:
    """REST with some parts replaced: position, velocity, quat, omega, speed."""
    place = {"position": 0, "velocity": 3, "quat": 6, "omega": 10, "speed": 13}
    x = list(REST)
    for name, value in parts.items():
        x[place[name] : place[name] + len(value)] = map(float, value)
    return tuple(x)


def test_free_fall_is_a_parabola(vehicle: QuadrotorParameters):
    """Rotors that stand still lift nothing; RK4 is exact on a polynomial of degree two."""
    falling = replace(without_drag(vehicle), thrust_curve=vehicle.thrust_curve * [0.0, 1.0, 1.0])
    x = fly(falling, state(velocity=(1.0, -2.0, 3.0)), (0.0,) * 4, 1.5, 0.01)
    assert np.allclose(x[0:3], [1.5, -3.0, 4.5 - 0.5 * GRAVITY * 1.5**2], rtol=1e-12)
    assert np.allclose(x[3:6], [1.0, -2.0, 3.0 - GRAVITY * 1.5], rtol=1e-12)


def test_free_rigid_body_keeps_momentum_in_the_world_and_energy(vehicle: QuadrotorParameters):
    inertia = vehicle.inertia
    x0 = state(quat=Rotation.from_rotvec([0.3, -0.2, 0.9]).as_quat(), omega=(3.0, 4.0, -2.0))
    x1 = fly(without_drag(vehicle), x0, (0.0,) * 4, 3.0, 0.002)

    def momentum_w(x):
        return np.array(rotate(x[6:10], tuple(inertia * x[10:13])))

    def energy(x):
        return 0.5 * float(np.array(x[10:13]) ** 2 @ inertia)

    assert not np.allclose(x0[10:13], x1[10:13], rtol=0.01)  # the body rates do change
    scale = np.linalg.norm(momentum_w(x0))
    assert np.allclose(momentum_w(x1), momentum_w(x0), rtol=0.0, atol=1e-8 * scale)
    assert energy(x1) == pytest.approx(energy(x0), rel=1e-8)


def test_symmetric_top_precesses_as_euler_found(crazyflie: QuadrotorParameters):
    """J = (a, a, c): w_z is constant and (w_x, w_y) turns at (c - a)/a w_z."""
    a, c = 2e-5, 3e-5
    top = replace(without_drag(crazyflie), inertia=np.array([a, a, c]))
    spin, tilt, time = 10.0, 2.0, 1.0
    x = fly(top, state(omega=(tilt, 0.0, spin)), (0.0,) * 4, time, 0.001)
    phase = (c - a) / a * spin * time
    assert np.allclose(x[10:13], [tilt * math.cos(phase), tilt * math.sin(phase), spin], rtol=0.0, atol=1e-8)


@pytest.mark.parametrize(("start", "command"), [(0.6, 0.9), (0.9, 0.6)])
def test_rotor_lag_is_exponential_up_and_down(vehicle: QuadrotorParameters, start: float, command: float):
    top = vehicle.rotor_speed_max[0]
    tau = vehicle.rise_time[0] if command > start else vehicle.fall_time[0]
    time = 1.0 * tau
    dt = time / 1000
    x = fly(vehicle, state(speed=(start * top,) * 4), (command * top,) * 4, time, dt)
    expected = top * (command + (start - command) * math.exp(-1.0))
    assert np.allclose(x[13:17], expected, rtol=1e-10)


def test_rise_and_fall_differ_only_by_their_times(crazyflie: QuadrotorParameters):
    airframe = crazyflie.airframe
    up = rotor_acceleration((500.0,) * 4, (600.0,) * 4, airframe)
    down = rotor_acceleration((600.0,) * 4, (500.0,) * 4, airframe)
    ratio = airframe.fall_time[0] / airframe.rise_time[0]
    assert ratio > 2.0 and np.allclose(np.array(up) / np.array(down), -ratio)


def test_terminal_velocity_in_wind(crazyflie: QuadrotorParameters):
    """Level, falling without lift: v_z = -m g / d_z, and the wind carries it along fully."""
    d = replace(crazyflie, drag=np.array([0.02, 0.03, 0.05]))
    wind = (2.0, -1.0, 0.5)
    x = fly(d, REST, (0.0,) * 4, 30.0, 0.01, (*wind, *(0.0,) * 6))
    assert np.allclose(x[3:6], [2.0, -1.0, 0.5 - d.mass * GRAVITY / 0.05], rtol=1e-6)


def test_drag_only_takes_energy(vehicle: QuadrotorParameters):
    random = np.random.default_rng(3)
    for _ in range(20):
        q, v = Rotation.random(random_state=random).as_quat(), random.standard_normal(3)
        slope = derivative(state(quat=q, velocity=v), (0.0,) * 4, vehicle.airframe)
        power = np.dot(v, np.array(slope[3:6]) + [0.0, 0.0, GRAVITY])  # rotors at rest: what is left is drag
        idle = derivative(state(quat=q), (0.0,) * 4, vehicle.airframe)
        power -= np.dot(v, np.array(idle[3:6]) + [0.0, 0.0, GRAVITY])
        assert power <= 0.0


def test_disturbances_act_where_their_names_say(vehicle: QuadrotorParameters):
    q = Rotation.from_rotvec([0.4, 0.5, -0.6]).as_quat()
    x = state(quat=q, speed=(vehicle.hover_rotor_speed,) * 4)
    calm = np.array(derivative(x, x[13:], vehicle.airframe))
    pushed = np.array(derivative(x, x[13:], vehicle.airframe, (0.0,) * 3 + (1.0, 2.0, 3.0) + (0.01, 0.02, 0.03)))
    assert np.allclose((pushed - calm)[3:6] * vehicle.mass, [1.0, 2.0, 3.0])  # a force in the world
    assert np.allclose((pushed - calm)[10:13] * vehicle.inertia, [0.01, 0.02, 0.03])  # a torque in the body


@pytest.mark.parametrize(
    ("rotors", "axis", "sign"),
    [((2, 3), 0, 1), ((0, 1), 0, -1), ((0, 3), 1, -1), ((1, 2), 1, 1), ((1, 3), 2, 1), ((0, 2), 2, -1)],
)
def test_rotor_torques_have_the_hand_signs(vehicle: QuadrotorParameters, rotors, axis: int, sign: int):
    """Left rotors roll right (+x), back rotors push the nose down (+y), clockwise ones turn left (+z)."""
    thrust = tuple(1.0 if i in rotors else 0.0 for i in range(4))
    total, torque = rotor_wrench(thrust, vehicle.airframe)
    assert total == 2.0
    assert np.sign(torque[axis]) == sign
    assert np.allclose(np.delete(torque, axis), 0.0, atol=1e-15)


def test_order_of_convergence_is_four(vehicle: QuadrotorParameters):
    """Halving the step divides the error by 16, with all terms at work and no kink of the rotor lag."""
    hover = vehicle.hover_rotor_speed
    x0 = state(
        velocity=(1.0, 2.0, -1.0),
        quat=Rotation.from_rotvec([0.2, 0.3, 0.4]).as_quat(),
        omega=(1.0, -2.0, 3.0),
        speed=(0.8 * hover, 0.85 * hover, 1.2 * hover, 1.15 * hover),
    )
    u = (1.1 * hover, 1.0 * hover, 0.9 * hover, 1.05 * hover)
    p = (1.0, -1.0, 0.5, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    duration = 8.0 * vehicle.rise_time[0]
    counts = np.array([8, 16, 32, 64])
    ends = [np.array(fly(vehicle, x0, u, duration, duration / n, p)) for n in (*counts, 1024)]
    scale = np.abs(ends[-1]) + 1.0
    errors = [np.max(np.abs(end - ends[-1]) / scale) for end in ends[:-1]]
    order = np.log2(np.array(errors[:-1]) / errors[1:])
    assert np.all(order[1:] > 3.7) and np.all(order[1:] < 4.4), (errors, order)


def test_quaternion_stays_on_the_sphere(vehicle: QuadrotorParameters, near_hover):
    x, u, _ = near_hover(vehicle, 10, seed=5)
    path = QuadrotorDynamics(vehicle, 0.01).rollout(x, np.repeat(u[:, None], 50, axis=1))
    assert np.allclose(np.linalg.norm(path[..., 6:10], axis=-1), 1.0, rtol=0.0, atol=1e-14)


def turned(x: np.ndarray, yaw: Rotation) -> np.ndarray:
    """The same flight seen in a world turned about z and shifted."""
    y = x.copy()
    y[..., 0:3] = yaw.apply(x[..., 0:3]) + [4.0, -5.0, 6.0]
    y[..., 3:6] = yaw.apply(x[..., 3:6])
    y[..., 6:10] = (yaw * Rotation.from_quat(x[..., 6:10])).as_quat()
    return y


def test_turning_the_start_about_z_turns_the_flight(vehicle: QuadrotorParameters, near_hover):
    x, u, p = near_hover(vehicle, 4, seed=7)
    yaw = Rotation.from_euler("z", 1.234)
    p_turned = np.concatenate([yaw.apply(p[:, 0:3]), yaw.apply(p[:, 3:6]), p[:, 6:9]], axis=-1)
    model = QuadrotorDynamics(vehicle, 0.001)
    us = np.repeat(u[:, None], 200, axis=1)
    end = model.rollout(x, us, p)[:, -1]
    end_turned = model.rollout(turned(x, yaw), us, p_turned)[:, -1]
    expected = turned(end, yaw)
    expected[:, 6:10] *= np.sign((expected[:, 6:10] * end_turned[:, 6:10]).sum(-1, keepdims=True))
    # Not to rounding: between the stages of a step the quaternion is off the unit sphere, where ``rotate`` is
    # no rotation; the difference is of the integrator's own order.
    assert np.allclose(end_turned, expected, rtol=1e-7, atol=1e-7)


def test_turning_the_world_about_z_turns_the_derivative(vehicle: QuadrotorParameters, near_hover):
    """To rounding: the equations know no direction but up."""
    x, u, p = near_hover(vehicle, 20, seed=9)
    yaw = Rotation.from_euler("z", -2.1)
    x2 = turned(x, yaw)
    p2 = np.concatenate([yaw.apply(p[:, 0:3]), yaw.apply(p[:, 3:6]), p[:, 6:9]], axis=-1)
    slope = np.stack(derivative(tuple(x.T), tuple(u.T), vehicle.airframe, tuple(p.T)), -1)
    slope2 = np.stack(derivative(tuple(x2.T), tuple(u.T), vehicle.airframe, tuple(p2.T)), -1)
    for part in (slice(0, 3), slice(3, 6)):
        assert np.allclose(slope2[:, part], yaw.apply(slope[:, part]), rtol=1e-11, atol=1e-11)
    assert np.allclose(slope2[:, 10:], slope[:, 10:], rtol=1e-12)


def test_mirroring_left_and_right_mirrors_the_flight(vehicle: QuadrotorParameters, near_hover):
    """y -> -y swaps rotors 0 with 3 and 1 with 2; polar vectors flip y, axial ones x and z."""
    polar, axial = np.array([1.0, -1.0, 1.0]), np.array([-1.0, 1.0, -1.0])

    def mirror(x):
        q = x[:, 6:10] * [*axial, 1.0]
        return np.concatenate([x[:, :3] * polar, x[:, 3:6] * polar, q, x[:, 10:13] * axial, x[:, [16, 15, 14, 13]]], -1)

    x, u, p = near_hover(vehicle, 4, seed=11)
    p_mirror = np.concatenate([p[:, :3] * polar, p[:, 3:6] * polar, p[:, 6:] * axial], -1)
    model = QuadrotorDynamics(vehicle, 0.005)
    end, end_mirror = x, mirror(x)
    for _ in range(40):
        end, end_mirror = model.step(end, u, p), model.step(end_mirror, u[:, ::-1], p_mirror)
    assert np.allclose(end_mirror, mirror(end), rtol=1e-9, atol=1e-9)

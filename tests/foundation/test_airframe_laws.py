"""The laws of random airframes say what they claim, to the letter of RAPTOR's where it is RAPTOR's."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest

from control_stack.errors import InvalidInput, UnknownName
from control_stack.foundation.airframes import (
    BASE_CURVE,
    BASE_INERTIA,
    LAWS,
    AirframeLaw,
    calm,
    concatenate,
    crazyflie_preset,
    law_named,
    sample,
    sample_conditions,
)
from control_stack.foundation.quantities import of_vehicle, read_csv, write_csv
from control_stack.quadrotor.parameters import GRAVITY, load_vehicle

N = 4000


@pytest.fixture(scope="module", params=list(LAWS))
def drawn(request):
    law = LAWS[request.param]
    rng = np.random.default_rng(5)
    airframes = sample(law, N, rng)
    return law, airframes, sample_conditions(law, airframes, rng)


def within(values, span, slack=0.0):
    assert values.min() >= span[0] - slack and values.max() <= span[1] + slack
    # The draw fills its range.
    assert values.min() < span[0] + 0.02 * (span[1] - span[0]) and values.max() > span[1] - 0.02 * (span[1] - span[0])


def test_raptors_law_has_the_published_ranges():
    raptor = sample(LAWS["raptor"], N, np.random.default_rng(1))
    a = raptor.airframe
    within(raptor.thrust_to_weight, (1.5, 5.0), 1e-9)
    within(raptor.torque_to_inertia, (40.0, 1200.0), 1e-9)
    within(np.cbrt(a.mass), (np.cbrt(0.02), np.cbrt(5.0)), 1e-9)
    within(a.torque_constant[0], (0.005, 0.05))
    within(a.rise_time[0], (0.03, 0.10))
    within(a.fall_time[0], (0.03, 0.30))


def test_what_raptor_never_varies_is_the_crazyflies():
    a = sample(LAWS["raptor"], 50, np.random.default_rng(2)).airframe
    for k, curve in enumerate((a.thrust_c0, a.thrust_c1, a.thrust_c2)):
        np.testing.assert_allclose(curve[0] / (a.thrust_c0[0] + a.thrust_c1[0] + a.thrust_c2[0]),
                                   BASE_CURVE[k] / sum(BASE_CURVE))  # fmt: skip
        assert all(np.array_equal(curve[0], curve[i]) for i in range(4))
    np.testing.assert_allclose(a.inertia[1] / a.inertia[0], BASE_INERTIA[1] / BASE_INERTIA[0])
    np.testing.assert_allclose(a.inertia[2] / a.inertia[0], BASE_INERTIA[2] / BASE_INERTIA[0])
    assert not np.any(a.drag)


def test_the_cube_root_of_the_mass_is_uniform():
    root = np.cbrt(sample(LAWS["raptor"], 20_000, np.random.default_rng(3)).airframe.mass)
    share = (root - np.cbrt(0.02)) / (np.cbrt(5.0) - np.cbrt(0.02))
    # Kolmogorov's distance of 20,000 uniform draws exceeds 0.0138 once in a thousand times.
    assert np.abs(np.sort(share) - (np.arange(20_000) + 0.5) / 20_000).max() < 0.0138


def test_arms_follow_the_mass_and_spread_a_tenth():
    raptor = sample(LAWS["raptor"], 20_000, np.random.default_rng(4))
    factor = raptor.arm / (0.028 * np.cbrt(raptor.airframe.mass / 0.0306))
    f = np.where(factor < 1.0, 1.0 - 1.0 / factor, factor - 1.0)
    assert abs(f.mean()) < 0.003 and abs(f.std() - 0.1) < 0.003


def test_torque_to_inertia_is_what_the_rotors_can_do(drawn):
    """sqrt 2 * arm * thrust of one rotor: half of what two rotors against two would give about the diagonal."""
    law, airframes, _ = drawn
    a = airframes.airframe
    arm = np.abs(np.stack(a.rotor_y)).mean(0)
    thrust = (np.stack(a.thrust_c0) + np.stack(a.thrust_c1) + np.stack(a.thrust_c2)).mean(0)
    np.testing.assert_allclose(airframes.torque_to_inertia, np.sqrt(2.0) * arm * thrust / a.inertia[0], rtol=1e-12)


def test_every_inertia_belongs_to_a_rigid_body(drawn):
    _, airframes, _ = drawn
    x, y, z = airframes.airframe.inertia
    assert (x + y > z).all() and (y + z > x).all() and (z + x > y).all()


def test_at_hover_speed_equal_rotors_carry_the_weight(drawn):
    _, airframes, _ = drawn
    a, u = airframes.airframe, airframes.hover_speed
    thrust = sum(a.thrust_c0[i] + a.thrust_c1[i] * u + a.thrust_c2[i] * u**2 for i in range(4))
    np.testing.assert_allclose(thrust, a.mass * GRAVITY, rtol=1e-9)
    assert (u > 0.0).all() and (u < 1.0).all()


def test_a_seed_gives_the_same_airframes_and_another_seed_others(drawn):
    law, airframes, conditions = drawn
    rng = np.random.default_rng(5)
    again = sample(law, N, rng)
    assert np.array_equal(airframes.columns, again.columns)
    other = sample_conditions(law, again, rng)
    assert all(np.array_equal(getattr(conditions, f.name), getattr(other, f.name)) for f in fields(other))
    assert not np.array_equal(airframes.columns, sample(law, N, np.random.default_rng(6)).columns)


def test_raptors_force_is_normal_and_grows_with_the_thrust_to_spare():
    raptor = sample(LAWS["raptor"], 50_000, np.random.default_rng(7))
    force = sample_conditions(LAWS["raptor"], raptor, np.random.default_rng(8)).force_w
    ratio = raptor.thrust_to_weight
    largest = 0.3 * (ratio - 1.0) * ratio * raptor.airframe.mass / 3.0
    # s uniform on 0..largest: the variance is largest^2 / 3.
    assert np.abs((force / largest).var(1) - 1.0 / 3.0).max() < 0.02
    assert np.abs((force / largest).mean(1)).max() < 0.01


def test_the_wide_law_stays_within_its_ranges():
    law, rng = LAWS["wide"], np.random.default_rng(9)
    wide = sample(law, N, rng)
    c = sample_conditions(law, wide, rng)
    a = wide.airframe
    within(np.linalg.norm(c.force_w, axis=0) / wide.weight, law.force, 1e-9)
    within(c.velocity_delay, law.velocity_delay)
    within(c.attitude_delay, law.attitude_delay)
    within(c.sag, law.sag)
    within(a.drag[0] / a.mass, law.drag, 1e-9)
    assert np.abs(c.torque_b[:2] / wide.max_roll_torque).max() <= 0.2 + 1e-9
    centre = np.stack(a.rotor_x).mean(0) / wide.arm
    assert 0.09 < np.abs(centre).max() <= 0.101
    spread = wide.max_thrust.std(-1, ddof=1) / wide.max_thrust.mean(-1)
    assert abs(np.sqrt((spread**2).mean()) - law.motor_spread) < 0.002


def test_the_preset_is_raptors_crazyflie():
    preset = crazyflie_preset()
    a = preset.airframe
    assert preset.thrust_to_weight[0] == pytest.approx(1.47, abs=0.005)
    assert (a.mass[0], a.torque_constant[0][0]) == (0.0306, 4.665e-3)
    assert (a.rise_time[0][0], a.fall_time[0][0]) == (0.0555, 0.2494)
    # Front right, back right, back left, front left; body x forward, y left.
    assert [np.sign(x[0]) for x in a.rotor_x] == [1, -1, -1, 1]
    assert [np.sign(y[0]) for y in a.rotor_y] == [-1, -1, 1, 1]
    assert [s[0] for s in a.rotor_spin] == [-1, 1, -1, 1]


def test_calm_is_calm_and_batches_join():
    one = crazyflie_preset()
    both = concatenate([one, sample(LAWS["raptor"], 3, np.random.default_rng(0))])
    assert len(both) == 4 and np.array_equal(both[:1].columns, one.columns)
    assert not any(np.any(getattr(calm(both), field.name)) for field in fields(calm(both)))


def test_refusals():
    with pytest.raises(InvalidInput, match="at least 1"):
        sample(LAWS["raptor"], 0, np.random.default_rng(0))
    with pytest.raises(UnknownName, match="raptor, wide"):
        law_named("narrow")
    with pytest.raises(InvalidInput, match="mass"):
        AirframeLaw(mass=(5.0, 0.02))
    with pytest.raises(InvalidInput, match="mass"):
        replace(LAWS["raptor"], mass=(1.0, float("nan")))


def test_a_vehicle_is_the_same_airframe_at_normalised_speeds():
    parameters = load_vehicle("crazyflie")
    airframes = of_vehicle(parameters)
    assert airframes.max_thrust.sum() == pytest.approx(parameters.max_thrust, rel=1e-12)
    speed = float(airframes.hover_speed[0]) * float(np.mean(parameters.rotor_speed_max))
    assert speed == pytest.approx(parameters.hover_rotor_speed, rel=1e-9)


def test_a_csv_holds_airframes_to_the_last_bit(tmp_path, drawn):
    _, airframes, conditions = drawn
    few = airframes[:20]
    write_csv(
        tmp_path / "a.csv", few, type(conditions)(*(getattr(conditions, f.name)[..., :20] for f in fields(conditions)))
    )
    assert np.array_equal(read_csv(tmp_path / "a.csv").columns, few.columns)
    assert (tmp_path / "a.csv").read_text().startswith("mass_kg,inertia_xx_kg_m2")

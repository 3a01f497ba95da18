"""Vehicle files: what ships is physical, what cannot fly is refused in one line, payloads add up."""

from __future__ import annotations

from dataclasses import fields, replace
from importlib import resources

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from control_stack.errors import InvalidInput, UnknownName
from control_stack.quadrotor import parameters as qp
from control_stack.quadrotor.dynamics import derivative, rotor_speed_for_thrust, rotor_thrust
from control_stack.quadrotor.parameters import QuadrotorParameters, load_vehicle, parse_vehicle


@pytest.fixture
def document() -> dict:
    """A valid vehicle file as data, to be spoilt."""
    from importlib import resources

    return yaml.safe_load((resources.files("control_stack") / "vehicles" / "x500.yaml").read_text(encoding="utf-8"))


def refusal(document: dict) -> str:
    with pytest.raises((InvalidInput, UnknownName)) as caught:
        parse_vehicle(yaml.safe_dump(document), "mine.yaml")
    message = str(caught.value)
    assert "\n" not in message and "mine.yaml" in message
    return message


def test_three_vehicles_ship():
    assert {"crazyflie", "racer", "x500"} <= set(qp.vehicle_names())


def test_every_value_names_its_source(vehicle: QuadrotorParameters):
    assert len(vehicle.sources) >= 20
    assert all(isinstance(source, str) and source.strip() for source in vehicle.sources.values())


def test_hover_is_an_equilibrium(vehicle: QuadrotorParameters):
    hover = (vehicle.hover_rotor_speed,) * 4
    x = (1.0, 2.0, 3.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.6, 0.8, 0.0, 0.0, 0.0, *hover)  # any position, any heading
    assert np.allclose(derivative(x, hover, vehicle.airframe), 0.0, atol=1e-11)


def test_hover_speed_is_inside_the_rotors_range(vehicle: QuadrotorParameters):
    assert vehicle.rotor_speed_min.max() < vehicle.hover_rotor_speed < vehicle.rotor_speed_max.min()


def test_moments_of_inertia_belong_to_a_rigid_body(vehicle: QuadrotorParameters):
    assert 2.0 * vehicle.inertia.max() <= vehicle.inertia.sum()


def test_thrust_rises_with_speed_and_inverts(vehicle: QuadrotorParameters):
    speeds = np.linspace(vehicle.rotor_speed_min[0], vehicle.rotor_speed_max[0], 400)
    thrust = rotor_thrust((speeds,) * 4, vehicle.airframe)[0]
    lifting = thrust > 0.0
    assert np.all(np.diff(thrust[lifting]) > 0.0) and np.all(np.diff(thrust) >= 0.0)
    back = rotor_speed_for_thrust((thrust,) * 4, vehicle.airframe)[0]
    assert np.allclose(back[lifting], speeds[lifting], rtol=1e-9)
    assert vehicle.max_thrust == pytest.approx(4.0 * thrust[-1])


def test_inverse_thrust_is_clipped_to_the_range(vehicle: QuadrotorParameters):
    low, high = vehicle.airframe.rotor_speed_min, vehicle.airframe.rotor_speed_max
    assert rotor_speed_for_thrust((vehicle.max_thrust,) * 4, vehicle.airframe) == high
    negative = rotor_speed_for_thrust((-1.0,) * 4, vehicle.airframe)
    assert all(lo <= w <= hi for lo, w, hi in zip(low, negative, high, strict=True))
    assert sum(rotor_thrust(negative, vehicle.airframe)) <= sum(rotor_thrust(low, vehicle.airframe)) + 1e-12


def test_flat_form_round_trips(vehicle: QuadrotorParameters):
    flat = vehicle.flatten()
    assert flat.shape == (qp.AIRFRAME_SIZE,)
    airframe = qp.airframe_from_columns(flat.tolist())
    assert airframe == vehicle.airframe
    assert airframe.mass == vehicle.mass and airframe.drag == tuple(vehicle.drag)
    assert airframe.rotor_y == tuple(vehicle.rotor_position[:, 1])
    assert airframe.thrust_c2 == tuple(vehicle.thrust_curve[:, 2])
    assert airframe.fall_time == tuple(vehicle.fall_time) and airframe.rotor_speed_max == tuple(vehicle.rotor_speed_max)


@pytest.mark.parametrize("name", ["mass", "drag", "inertia", "rise_time", "thrust_curve", "rotor_position"])
def test_any_one_batched_field_batches_the_airframe(crazyflie: QuadrotorParameters, name: str):
    value = np.asarray(getattr(crazyflie, name))
    batch = replace(crazyflie, **{name: np.multiply.outer(np.array([0.9, 1.0, 1.1]), value)})
    flat = batch.flatten()
    assert flat.shape == (3, qp.AIRFRAME_SIZE)
    assert np.array_equal(flat[1], crazyflie.flatten())
    scaled = replace(crazyflie, **{name: 1.1 * value if value.ndim else float(1.1 * value)})
    assert np.allclose(flat[2], scaled.flatten(), rtol=1e-15)


@given(st.integers(0, 2), st.floats(-0.2, 0.2), st.floats(0.001, 1.0))
def test_payload_is_the_parallel_axis_theorem(axis: int, distance: float, payload: float):
    """Vehicle as six point masses with its inertia, payload as a seventh: the sum over all seven."""
    vehicle = load_vehicle("x500")
    second_moment = vehicle.inertia.sum() / 2.0 - vehicle.inertia  # sum of m r_i^2 along each axis
    points, masses = [], []
    for i in range(3):
        for sign in (-1.0, 1.0):
            points.append(sign * np.sqrt(second_moment[i] / (vehicle.mass / 3.0)) * np.eye(3)[i])
            masses.append(vehicle.mass / 6.0)
    offset = distance * np.eye(3)[axis]
    points, masses = np.array([*points, offset]), np.array([*masses, payload])
    centre = masses @ points / masses.sum()
    r = points - centre
    inertia = np.einsum("i,ijk->jk", masses, (r**2).sum(-1)[:, None, None] * np.eye(3) - r[:, :, None] * r[:, None, :])

    loaded = vehicle.with_payload(payload, offset)
    assert loaded.mass == pytest.approx(masses.sum())
    assert np.allclose(np.diag(loaded.inertia), inertia, rtol=1e-12, atol=1e-15)
    assert np.allclose(loaded.rotor_position, vehicle.rotor_position - centre, atol=1e-15)


def test_payload_off_the_axes_is_refused(crazyflie: QuadrotorParameters):
    with pytest.raises(InvalidInput, match="one body axis"):
        crazyflie.with_payload(0.01, np.array([0.01, 0.01, 0.0]))


def test_rotor_loss_takes_that_share_of_one_rotor(vehicle: QuadrotorParameters):
    speeds = (vehicle.hover_rotor_speed,) * 4
    whole = np.array(rotor_thrust(speeds, vehicle.airframe))
    lost = np.array(rotor_thrust(speeds, vehicle.with_rotor_loss(2, 0.3).airframe))
    assert np.allclose(lost / whole, [1.0, 1.0, 0.7, 1.0])


def test_a_file_by_path_is_the_same_vehicle(tmp_path, document: dict):
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    mine, shipped = load_vehicle(path), load_vehicle("x500")
    for f in fields(QuadrotorParameters):
        if f.name not in ("gains", "limits"):
            assert np.array_equal(getattr(mine, f.name), getattr(shipped, f.name)), f.name
    assert load_vehicle(str(path)).mass == shipped.mass


def test_drag_may_be_left_out(document: dict):
    del document["drag"]
    assert np.array_equal(parse_vehicle(yaml.safe_dump(document), "mine.yaml").drag, np.zeros(3))


def test_unknown_vehicle_lists_the_known():
    with pytest.raises(UnknownName, match=r"^unknown vehicle 'crazyfly'; expected one of: crazyflie, racer, x500"):
        load_vehicle("crazyfly")


def test_missing_or_unreadable_files(tmp_path):
    with pytest.raises(InvalidInput, match=r"nothing\.yaml does not exist"):
        load_vehicle(tmp_path / "nothing.yaml")
    (tmp_path / "latin.yaml").write_bytes(b"name: caf\xe9\n")
    with pytest.raises(InvalidInput, match="not UTF-8"):
        load_vehicle(tmp_path / "latin.yaml")


@pytest.mark.parametrize("text", ["name: [", "- a\n- b\n", "", "name: 3\n", "mass: {value: 1, unit: kg, source: x}\n"])
def test_files_that_are_no_vehicle(text: str):
    with pytest.raises(InvalidInput) as caught:
        parse_vehicle(text, "mine.yaml")
    assert str(caught.value).startswith("mine.yaml: ") and "\n" not in str(caught.value)


@pytest.mark.parametrize("key", ["mass", "inertia", "rotor_spin", "rotor_fall_time", "max_tilt"])
def test_missing_key_is_named(document: dict, key: str):
    del document[key]
    assert f"'{key}' is missing" in refusal(document)


@pytest.mark.parametrize("key", ["wheels", 7])
def test_unknown_key_is_named(document: dict, key):
    document[key] = 4
    assert f"'{key}'" in refusal(document)


SPOILT = [
    ("mass", "value", 2000.0, "thrust/weight"),
    ("mass", "value", 2.95, "thrust/weight"),  # 1.18: the laws keep a tenth in reserve
    ("mass", "value", float("nan"), "finite"),
    ("mass", "value", -2.0, "positive"),
    ("mass", "value", [1.0, 2.0], "shape"),
    ("mass", "value", "heavy", "not numeric"),
    ("mass", "unit", "g", "must be in 'kg'"),
    ("max_tilt", "unit", "deg", "must be in 'rad'"),
    ("max_tilt", "value", 45.0, "max_tilt"),
    ("inertia", "value", [0.02, 0.02, float("inf")], "finite"),
    ("inertia", "value", [0.02, 0.02, 0.05], "sum of the other two"),
    ("inertia", "value", [0.02, 0.02], "shape"),
    ("inertia", "value", [0.02, [0.02], 0.04], "not numeric"),
    ("rotor_spin", "value", [-1, 1, -1, -1], "diagonal"),
    ("rotor_spin", "value", [-1, -1, 1, 1], "diagonal"),
    ("rotor_spin", "value", [-2, 2, -2, 2], "diagonal"),
    ("rotor_speed_min", "value", 1000.0, "below rotor_speed_max"),
    ("rotor_speed_min", "value", -1.0, "not be negative"),
    ("thrust_curve", "value", [0.0, 0.0, -8.5e-6], "thrust_curve"),
    ("thrust_curve", "value", [9.0, -0.01, 8.5e-6], "thrust_curve"),
    ("drag", "value", [-0.1, 0.0, 0.0], "not be negative"),
    ("rate_gain", "value", [0.0, 1.0, 1.0], "positive"),
]


@pytest.mark.parametrize(("key", "entry", "value", "reason"), SPOILT)
def test_unusable_values_are_refused_with_the_reason(document: dict, key: str, entry: str, value, reason: str):
    document[key][entry] = value
    message = refusal(document)
    assert reason in message and (key in message or reason == "thrust/weight")


def test_rotors_in_another_order_are_refused(document: dict):
    """The permutations to the vendors' motors rely on the order; a mistake here is a crash on hardware."""
    document["rotor_position"]["value"] = document["rotor_position"]["value"][::-1]
    assert "front right, back right, back left, front left" in refusal(document)


@pytest.mark.parametrize("entry", [1.0, {"value": 1.0, "unit": "kg"}, {"value": 1.0, "unit": "kg", "origin": "me"}])
def test_a_quantity_needs_value_unit_and_source(document: dict, entry):
    document["mass"] = entry
    assert "'mass' must be {value, unit, source}" in refusal(document)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda text: text.replace("mass:", "mass: {", 1), r"line \d+, column \d+: "),
        (lambda text: text.replace("mass:", "maas:", 1), "did you mean 'mass'"),
        (
            lambda text: text.replace("value: 0.027\n", "value: 27 grams\n", 1),
            "'mass' is not numeric: its value is '27 grams'",
        ),
    ],
    ids=["syntax", "misspelt key", "no number"],
)
def test_a_mistake_in_a_vehicle_file_is_shown_where_it_is(change, said: str) -> None:
    text = (resources.files("control_stack") / "vehicles" / "crazyflie.yaml").read_text(encoding="utf-8")
    with pytest.raises((InvalidInput, UnknownName), match=said) as error:
        parse_vehicle(change(text), "mine.yaml")
    assert "mine.yaml" in str(error.value) and "\n" not in str(error.value)

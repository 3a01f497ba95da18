"""Arm files and URDFs: round trips, any axes, and what is wrong named."""

from __future__ import annotations

import warnings
from importlib import resources

import numpy as np
import pytest
import yaml

from control_stack.arm.dynamics import ArmDynamics
from control_stack.arm.library import arm_names, load_arm
from control_stack.arm.load import Load
from control_stack.arm.parameters import parse_arm, rotation_of_rpy, rpy_of_rotation
from control_stack.arm.urdf import arm_urdf
from control_stack.errors import InvalidInput, UnknownName

PLANAR = (resources.files("control_stack") / "vehicles" / "arms" / "planar.yaml").read_text()


def urdf_file(tmp_path, text: str):
    path = tmp_path / "arm.urdf"
    path.write_text(text)
    return path


@pytest.mark.parametrize("name", arm_names())
def test_urdf_and_back_is_the_same_arm(name, tmp_path):
    arm = load_arm(name)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        back = load_arm(urdf_file(tmp_path, arm_urdf(arm)))
    assert back.joint_names == arm.joint_names and back.name == arm.name
    for key in ("joint_origin", "joint_rotation", "flange_origin", "mass", "centre_of_mass", "inertia",
                "position_lower", "position_upper", "velocity_limit", "torque_limit"):  # fmt: skip
        np.testing.assert_allclose(getattr(back, key), getattr(arm, key), atol=1e-14, err_msg=key)
    assert np.all(np.array(arm.acceleration_limit) > 0.0) and set(arm.sources) >= {"mass", "torque_limit"}


def test_a_load_in_the_urdf_is_a_load_in_p(tmp_path):
    arm, load = load_arm("panda"), Load.box(3.1, [0.1, 0.06, 0.2], [0.1, -0.05, 0.08])
    loaded = load_arm(urdf_file(tmp_path, arm_urdf(arm, load)))
    q = np.linspace(-0.5, 0.5, 7)
    expected = ArmDynamics(arm, 0.01).mass_matrix(q, load.parameters)
    np.testing.assert_allclose(ArmDynamics(loaded, 0.01).mass_matrix(q), expected, atol=1e-13)


def test_rpy_is_inverted_at_the_poles_too():
    rng = np.random.default_rng(0)
    angles = [*rng.uniform(-3.0, 3.0, (50, 3)), np.array([0.4, np.pi / 2, 0.9]), np.array([0.4, -np.pi / 2, 0.9])]
    for rpy in angles:
        rotation = rotation_of_rpy(rpy)
        np.testing.assert_allclose(rotation_of_rpy(rpy_of_rotation(rotation)), rotation, atol=1e-9)


FOREIGN = """<robot name="foreign">
  <link name="world"/>
  <link name="base"/>
  <joint name="stand" type="fixed"><parent link="world"/><child link="base"/>
    <origin xyz="0 0 0.4" rpy="0 0 0.5"/></joint>
  <link name="a"><inertial><origin xyz="0.1 0.02 0" rpy="0.3 0.1 0"/><mass value="2"/>
    <inertia ixx="0.02" ixy="0.001" ixz="0.002" iyy="0.03" iyz="0" izz="0.025"/></inertial></link>
  <joint name="j1" type="continuous"><parent link="base"/><child link="a"/><origin xyz="0 0 0.1" rpy="0.2 0 0"/>
    <axis xyz="0 1 0.5"/><dynamics damping="0.3" friction="0.2"/></joint>
  <link name="bracket"><inertial><origin xyz="0 0.05 0"/><mass value="0.5"/>
    <inertia ixx="0.001" ixy="0" ixz="0" iyy="0.002" iyz="0" izz="0.0015"/></inertial></link>
  <joint name="bolt" type="fixed"><parent link="a"/><child link="bracket"/><origin xyz="0.2 0 0" rpy="0 0.7 0"/></joint>
  <link name="b">{inertial}</link>
  <joint name="j2" type="revolute"><parent link="bracket"/><child link="b"/><origin xyz="0.1 0 0.05"/>
    <axis xyz="-1 0 0"/><limit lower="-1" upper="1" velocity="2" effort="30"/></joint>
  <link name="flange"/>
  <joint name="tool" type="fixed"><parent link="b"/><child link="flange"/><origin xyz="0 0.1 0.2" rpy="1 0 0"/></joint>
  <link name="finger"><inertial><mass value="0.1"/>
    <inertia ixx="0.0001" ixy="0" ixz="0" iyy="0.0002" iyz="0" izz="0.00015"/></inertial></link>
  <joint name="grip" type="prismatic"><parent link="flange"/><child link="finger"/><origin xyz="0 0 0.05"/>
    <limit lower="0" upper="0.04" velocity="1" effort="1"/></joint>
</robot>"""
MEASURED = (
    '<inertial><origin xyz="0 0.04 0.1"/><mass value="1"/>'
    '<inertia ixx="0.01" ixy="0" ixz="0" iyy="0.012" iyz="0" izz="0.004"/></inertial>'
)


def test_any_axes_fixed_joints_and_fingers(tmp_path):
    """Against pinocchio on the same foreign file, the finger locked there too."""
    pin = pytest.importorskip("pinocchio")
    text = FOREIGN.format(inertial=MEASURED)
    with pytest.warns(UserWarning, match="fixed at 0: grip"):
        arm = load_arm(urdf_file(tmp_path, text))
    assert arm.joint_names == ("j1", "j2") and arm.friction.viscous == (0.3, 0.0)
    from pinocchio_twin import Twin

    # A continuous joint is a point on the circle in pinocchio: limits wide enough say the same here.
    wide = text.replace('type="continuous"', 'type="revolute"').replace(
        "<dynamics", '<limit lower="-9" upper="9" velocity="9" effort="9"/><dynamics'
    )
    twin = Twin(wide)
    finger = twin.model.getJointId("grip")
    twin.model = pin.buildReducedModel(twin.model, [finger], np.zeros(3))
    twin.data, twin.flange = twin.model.createData(), twin.model.getFrameId("flange")
    model = ArmDynamics(arm, 0.01)
    rng = np.random.default_rng(0)
    for q, qd, qdd in rng.standard_normal((5, 3, 2)):
        ours = model.inverse(q, qd, qdd) - model.friction(qd)
        np.testing.assert_allclose(ours, twin.inverse(q, qd, qdd), atol=1e-12)
        np.testing.assert_allclose(model.flange(q)[0], twin.pose(q)[0], atol=1e-13)
        np.testing.assert_allclose(model.flange(q)[1], twin.pose(q)[1], atol=1e-13)


@pytest.mark.parametrize(
    ("inertial", "said"),
    [
        ('<inertial><mass value="1"/><inertia ixx="0.1" ixy="0" ixz="0" iyy="0.1" iyz="0" izz="0.1"/></inertial>',
         "placeholders: b"),
        ('<inertial><mass value="1"/><inertia ixx="0.1" ixy="0" ixz="0" iyy="0.1" iyz="0" izz="0.5"/></inertial>',
         "placeholders: b"),
        ("", "no inertia: b"),
        ('<inertial><mass value="1"/></inertial>', "no inertia: b"),
    ],
)  # fmt: skip
def test_inertias_that_nobody_measured_are_named(inertial, said, tmp_path):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            load_arm(urdf_file(tmp_path, FOREIGN.format(inertial=inertial)))
        except InvalidInput as error:  # some cannot even be computed with
            assert "j2" in str(error)
    assert any(said in str(w.message) for w in caught)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: t[:-9], "not valid XML"),
        (lambda t: t.replace("robot", "sdf"), "not a URDF"),
        (lambda t: t.replace('child link="b"', 'child link="c"'), "no child link 'c'"),
        (lambda t: t.replace('<mass value="2"/>', '<mass value="two"/>'), "'two', not a number"),
        (lambda t: t.replace('xyz="0 1 0.5"', 'xyz="0 0 0"'), "'j1' has no axis"),
        (lambda t: t.replace('xyz="0.1 0 0.05"', 'xyz="0.1 0"'), "not three numbers"),
        (lambda t: t.replace('"j2" type="revolute"', '"j2" type="floating"'), "'j2' is floating"),
        (lambda t: t.replace('lower="-1" upper="1"', ""), "'j2' needs position_lower below"),
        (lambda t: t.replace("revolute", "fixed").replace("continuous", "fixed"), "no turning joint"),
        (lambda t: t.replace('<parent link="world"/>', '<parent link="finger"/>'), "loop"),
    ],
)  # fmt: skip
def test_a_urdf_that_is_no_arm_is_refused_with_the_place(change, said, tmp_path):
    with pytest.raises(InvalidInput, match=said) as caught, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        load_arm(urdf_file(tmp_path, change(FOREIGN.format(inertial=MEASURED))))
    assert "arm.urdf" in str(caught.value) and "\n" not in str(caught.value)


def test_names_that_do_not_exist():
    with pytest.raises(UnknownName, match="unknown arm 'pandas'.*iiwa, panda, planar"):
        load_arm("pandas")
    for path in ("nowhere.yaml", "nowhere.urdf"):
        with pytest.raises(InvalidInput, match="does not exist"):
            load_arm(path)


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("mass", [3.0, 0.0], "joint2.*positive mass"),
        ("mass", [3.0], "shape"),
        ("inertia", [[0.1, 0, 0, 0.1, 0, 0.1], [0.1, 0, 0, 0.1, 0, 0.5]], "joint2.*inertia that a body"),
        ("torque_limit", [80.0, -1.0], "torque_limit of joint 'joint2'"),
        ("position_lower", [-2.6, 3.0], "joint2.*position_lower below"),
        ("home", [0.0, 9.0], "home of joint 'joint2'"),
        ("friction_amplitude", [0.1, -0.1], "friction of joint 'joint2'"),
        ("velocity_limit", [3.0, float("nan")], "finite"),
    ],
)
def test_arm_files_that_cannot_be_are_refused(key, value, said):
    data = yaml.safe_load(PLANAR)
    data[key]["value"] = value
    with pytest.raises(InvalidInput, match=said):
        parse_arm(yaml.safe_dump(data), "mine.yaml")


def test_arm_files_name_unknown_and_missing_keys():
    data = yaml.safe_load(PLANAR)
    with pytest.raises(UnknownName, match="'colour'"):
        parse_arm(yaml.safe_dump({**data, "colour": 1}), "mine.yaml")
    with pytest.raises(InvalidInput, match="'joints' must list"):
        parse_arm(yaml.safe_dump({**data, "joints": ["a", "a"]}), "mine.yaml")
    del data["mass"]
    with pytest.raises(InvalidInput, match="'mass' is missing"):
        parse_arm(yaml.safe_dump(data), "mine.yaml")

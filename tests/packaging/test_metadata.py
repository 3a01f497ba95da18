"""pyproject.toml, constraints.txt, package.xml and the disk tell one story."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

ROOMS = ("control_stack", "controllers", "hardware", "sim")


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def pinned(root: Path) -> dict[str, list[str]]:
    pins: dict[str, list[str]] = {}
    for line in (root / "constraints.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            name, version = re.fullmatch(r"([\w.-]+)==([^;\s]+)(?:;.*)?", line).groups()
            pins.setdefault(canonical(name), []).append(version)
    return pins


def test_package_list_equals_the_disk(root: Path, pyproject: dict[str, Any]) -> None:
    on_disk = {
        ".".join(source.parent.relative_to(root).parts) for room in ROOMS for source in (root / room).rglob("*.py")
    }
    assert set(pyproject["tool"]["setuptools"]["packages"]) == on_disk


def test_every_package_folder_has_an_init(root: Path, pyproject: dict[str, Any]) -> None:
    for package in pyproject["tool"]["setuptools"]["packages"]:
        assert (root / package.replace(".", "/") / "__init__.py").is_file(), package


def test_every_room_is_typed_and_ships_its_data(root: Path, pyproject: dict[str, Any]) -> None:
    shipped = pyproject["tool"]["setuptools"]["package-data"]
    for room in {name.split(".")[0] for name in pyproject["tool"]["setuptools"]["packages"]}:
        assert (root / room / "py.typed").is_file(), room
        matched = {path for pattern in shipped[room] for path in (root / room).glob(pattern)}
        data = {
            path
            for path in (root / room).rglob("*")
            if path.is_file() and path.suffix not in (".py", ".pyc") and "__pycache__" not in path.parts
        }
        assert matched == data, room


def test_launch_folder_never_becomes_a_package(root: Path) -> None:
    assert not (root / "launch" / "__init__.py").exists()


def test_the_promised_extras_exist(pyproject: dict[str, Any]) -> None:
    extras = pyproject["project"]["optional-dependencies"]
    assert set(extras) == {
        "ros", "sim", "mpc", "mip", "filter", "hardware", "learn", "ray", "imitation", "clients", "dev", "all",
    }  # fmt: skip
    features = set(extras) - {"clients", "dev", "all"}
    (everything,) = extras["all"]
    assert set(re.search(r"\[(.*)\]", everything)[1].split(",")) == features


def test_flying_asks_for_neither_torch_nor_launch(pyproject: dict[str, Any]) -> None:
    project = pyproject["project"]
    extras = project["optional-dependencies"]
    for requirement in (*project["dependencies"], *extras["ros"], *extras["sim"]):
        assert canonical(re.match(r"[\w.-]+", requirement)[0]) not in ("torch", "launch")


def test_every_dependency_is_pinned(root: Path, pyproject: dict[str, Any]) -> None:
    pins = pinned(root)
    project = pyproject["project"]
    for requirement in (*project["dependencies"], *sum(project["optional-dependencies"].values(), [])):
        name = canonical(re.match(r"[\w.-]+", requirement)[0])
        assert name == "control-stack" or name in pins, requirement
    assert pins["torch"] == ["2.13.0"]


@pytest.mark.parametrize("name", ["numpy", "scipy", "matplotlib"])
def test_python_310_has_its_own_pins(root: Path, name: str) -> None:
    assert len(pinned(root)[name]) == 2  # their newest releases need 3.11


def test_package_xml_agrees_with_pyproject(root: Path, pyproject: dict[str, Any]) -> None:
    package = ElementTree.parse(root / "package.xml").getroot()
    assert package.get("format") == "3"
    assert package.findtext("name") == "control_stack"
    assert package.findtext("version") == pyproject["project"]["version"]
    assert package.findtext("export/build_type") == "ament_python"
    needed = {element.text for element in package.findall("exec_depend")}
    wheels = {
        name.removeprefix("ros-jazzy-").replace("-", "_")
        for name in pyproject["project"]["optional-dependencies"]["ros"]
    }
    assert wheels - {"rmw_fastrtps_cpp"} <= needed  # a ROS installation brings its own middleware
    assert {"launch", "launch_ros"} <= needed


def test_versions_agree(root: Path, pyproject: dict[str, Any]) -> None:
    version = pyproject["project"]["version"]
    assert f"\nversion: {version}\n" in (root / "CITATION.cff").read_text()

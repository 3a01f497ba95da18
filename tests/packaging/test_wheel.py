"""The built wheel, installed with its base dependencies into a clean venv, away from the checkout."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow


def run(*command: str | Path, cwd: Path) -> str:
    """Run without the checkout or a sourced ROS on the path, and show the output when it fails."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run([str(part) for part in command], cwd=cwd, env=environment, text=True, capture_output=True)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(source_copy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("build")
    out = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", out, source_copy, cwd=out)
    (path,) = out.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def clean_python(wheel: Path, root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    venv = tmp_path_factory.mktemp("clean") / "venv"
    run(sys.executable, "-m", "venv", venv, cwd=venv.parent)
    python = venv / "bin" / "python"
    install = ("-m", "pip", "install", "-q", "--only-binary=:all:", "-c", root / "constraints.txt")
    run(python, *install, wheel, cwd=venv.parent)
    return python


def test_wheel_holds_the_rooms_and_nothing_else(wheel: Path, pyproject: dict[str, Any]) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    rooms = {name.split(".")[0] for name in pyproject["tool"]["setuptools"]["packages"]}
    version = pyproject["project"]["version"]
    meta = {f"control_stack-{version}.dist-info", f"control_stack-{version}.data"}
    assert {name.split("/")[0] for name in names} == rooms | meta
    shared = {name.split("/data/", 1)[1] for name in names if "/data/" in name}
    assert {
        "share/ament_index/resource_index/packages/control_stack",
        "share/control_stack/package.xml",
        "share/control_stack/launch/fly.launch.py",
        "share/control_stack/config/fly.yaml",
    } <= shared


def test_imports_need_no_extra(clean_python: Path, tmp_path: Path) -> None:
    heavy = ("torch", "casadi", "pybullet", "rclpy")
    code = f"import sys, control_stack, controllers, sim; print([m for m in {heavy} if m in sys.modules])"
    assert run(clean_python, "-c", code, cwd=tmp_path).strip() == "[]"


def test_vehicle_data_is_found_from_any_folder(clean_python: Path, tmp_path: Path, root: Path) -> None:
    code = (
        "from importlib.resources import files; import yaml\n"
        "for path in sorted((files('control_stack') / 'vehicles').rglob('*.yaml'), key=lambda p: p.name):\n"
        "    assert isinstance(yaml.safe_load(path.read_text()), dict); print(path.name)"
    )
    shipped = sorted(path.name for path in (root / "control_stack" / "vehicles").rglob("*.yaml"))
    assert run(clean_python, "-c", code, cwd=tmp_path).split() == shipped


def test_command_line_answers(clean_python: Path, tmp_path: Path) -> None:
    program = clean_python.parent / "control-stack"
    assert "fly" in run(program, "--help", cwd=tmp_path).split()
    assert (clean_python.parent / "sim_node").is_file()
    assert (clean_python.parent / "hardware_node").is_file()
    assert (clean_python.parent / "controller_node").is_file()

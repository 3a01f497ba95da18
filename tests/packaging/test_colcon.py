"""colcon builds the package as ament_python, plain and with symlinks, and puts things where ROS looks."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", params=["copied", "symlinked"])
def prefix(request: pytest.FixtureRequest, source_copy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("colcon_ros")
    workspace = tmp_path_factory.mktemp(f"colcon_{request.param}")
    command = [
        str(Path(sys.executable).with_name("colcon")),
        *("--log-base", str(workspace / "log"), "build"),
        *("--base-paths", str(source_copy), "--packages-select", "control_stack"),
        *("--build-base", str(workspace / "build"), "--install-base", str(workspace / "install")),
    ]
    if request.param == "symlinked":
        command.append("--symlink-install")
    done = subprocess.run(command, cwd=workspace, text=True, capture_output=True)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return workspace / "install" / "control_stack"


def test_executables_lie_where_launch_looks(prefix: Path) -> None:
    for name in ("sim_node", "hardware_node", "controller_node", "control-stack"):
        assert os.access(prefix / "lib" / "control_stack" / name, os.X_OK), name


def test_share_holds_what_ros_reads(prefix: Path, root: Path) -> None:
    share = prefix / "share"
    assert (share / "ament_index/resource_index/packages/control_stack").is_file()
    assert (share / "control_stack/package.xml").is_file()
    for folder, pattern in (("launch", "*.launch.py"), ("config", "*.yaml")):
        expected = {path.name for path in (root / folder).glob(pattern)}
        assert {path.name for path in (share / "control_stack" / folder).iterdir()} == expected


def sourced(prefix: Path, code: str, folder: Path) -> str:
    """What a program says that runs as a user's would: the prefix sourced, in a folder that is not the checkout."""
    script = f". '{prefix}/share/control_stack/package.sh' && exec '{sys.executable}' -P -c \"$CODE\""
    if sys.version_info < (3, 11):
        script = script.replace(" -P", "")
    done = subprocess.run(
        ["sh", "-c", script],
        cwd=folder,
        env=os.environ | {"CODE": code, "COLCON_CURRENT_PREFIX": str(prefix)},
        text=True,
        capture_output=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_rooms_and_data_import_from_the_prefix(prefix: Path, root: Path, tmp_path: Path) -> None:
    code = (
        "import control_stack, controllers, sim; from importlib.resources import files\n"
        "print(*sorted(p.name for p in (files('control_stack') / 'vehicles').rglob('*.yaml')))"
    )
    shipped = sorted(p.name for p in (root / "control_stack/vehicles").rglob("*.yaml"))
    assert sourced(prefix, code, tmp_path).split() == shipped


def test_installed_launch_files_find_what_they_are_written_in(prefix: Path, tmp_path: Path) -> None:
    for file in (prefix / "share/control_stack/launch").iterdir():
        code = f"import runpy; print('generate_launch_description' in runpy.run_path({str(file)!r}))"
        assert sourced(prefix, code, tmp_path).split() == ["True"], file.name

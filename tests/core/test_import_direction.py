"""The arrows between the rooms, read from the source: who may import whom, and what may not be used at all.

Nothing is imported here; every file of the rooms is parsed, imports inside functions included.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("control_stack", "controllers", "hardware", "sim")
SOURCES = sorted(
    path.relative_to(ROOT).as_posix() for room in ROOMS for path in (ROOT / room).rglob("*.py") if path.is_file()
)
COMPOSITION_ROOT = "control_stack/cli/*"  # may import all rooms, inside functions

ROS = (
    "rclpy",
    "*_msgs",
    "std_srvs",
    "builtin_interfaces",
    "rcl_interfaces",
    "rosidl_*",
    "tf2_*",
)
ROS_PLACES = ("*/node.py", "*/nodes/*.py", "control_stack/ros/*")
# what is imported -> where it may be
PLACES = {
    **dict.fromkeys(ROS, ROS_PLACES),
    **dict.fromkeys(("launch", "launch_ros"), ("control_stack/launching.py",)),
    "pybullet": ("sim/*",),
    "pybullet_data": ("sim/*",),
    "cflib": ("hardware/*", "sim/emulators/*", "sim/*emulator*.py"),
    "pymavlink": ("hardware/*", "sim/emulators/*", "sim/*emulator*.py"),
    "casadi": ("controllers/*", "sim/analytic.py", "control_stack/*/symbolic.py"),
    "pyomo": ("controllers/*",),
    "highspy": ("controllers/*", "control_stack/bounds/*"),
}
EAGER_TORCH = (
    "control_stack/learning/*",
    "control_stack/learned/*",
    "control_stack/foundation/training/*",
    "controllers/planning/branching*.py",  # a planner chosen by name, imported then: controllers/planning/factory.py
)
SERIALISERS = ("pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal")


def imports(tree: ast.AST, lazy: bool = False) -> Iterator[tuple[str, bool, int]]:
    """(full module name, whether it is imported only when a function runs, line) of every absolute import."""
    for node in ast.iter_child_nodes(tree):
        inside = lazy or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            inside = True
        if isinstance(node, ast.Import):
            yield from ((alias.name, lazy, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module, lazy, node.lineno
        elif isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if name in ("import_module", "__import__") and node.args and isinstance(node.args[0], ast.Constant):
                yield str(node.args[0].value), lazy, node.lineno
        yield from imports(node, inside)


def arrows_not_allowed(path: str, source: str) -> list[str]:
    """One line for every import in this file (path relative to the root) that the design forbids."""
    room = path.split("/")[0]
    out = []
    for module, lazy, line in imports(ast.parse(source)):
        top = module.split(".")[0]

        def refuse(reason: str, place: str = f"{path}:{line} imports {module}") -> None:
            out.append(f"{place}: {reason}")

        if top in ROOMS and top not in (room, "control_stack"):
            if not fnmatch(path, COMPOSITION_ROOT):
                refuse("a room imports itself and the core, nothing else")
            elif not lazy:
                refuse("the composition root imports rooms inside functions only")
        for name, places in PLACES.items():
            if fnmatch(top, name) and not any(fnmatch(path, place) for place in places):
                refuse(f"allowed only in {', '.join(places)}")
        if top == "torch" and not lazy and not any(fnmatch(path, place) for place in EAGER_TORCH):
            refuse("flying needs no torch: import it where a tensor is met")
        if top in SERIALISERS:
            refuse("weights and runs are safetensors, JSON and MCAP, never pickle")
    return out


def uses_not_allowed(path: str, source: str) -> list[str]:
    """Wall-clock time and hidden unpickling."""
    out = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            name = f"{node.value.id}.{node.attr}"
            if name in ("time.time", "time.time_ns"):
                out.append(f"{path}:{node.lineno} uses {name}: use the node clock, or a steady one for time-outs")
            if name == "torch.load":
                out.append(f"{path}:{node.lineno} uses torch.load, which unpickles")
        if isinstance(node, ast.ImportFrom) and node.module == "time":
            out += [
                f"{path}:{node.lineno} imports {a.name} from time" for a in node.names if a.name in ("time", "time_ns")
            ]
        if (
            isinstance(node, ast.keyword)
            and node.arg == "allow_pickle"
            and getattr(node.value, "value", None) is not False
        ):
            out.append(f"{path}:{node.lineno} allows pickle")
    return out


def test_there_is_something_to_check():
    assert {"control_stack/algebra.py", "controllers/__init__.py", "sim/__init__.py"} <= set(SOURCES)


@pytest.mark.parametrize("path", SOURCES)
def test_arrows(path: str):
    assert arrows_not_allowed(path, (ROOT / path).read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("path", SOURCES)
def test_no_wall_clock_and_no_pickle(path: str):
    assert uses_not_allowed(path, (ROOT / path).read_text(encoding="utf-8")) == []


LATE = "def f():\n    "


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("control_stack/frames.py", "import sim"),
        ("control_stack/frames.py", LATE + "from controllers.geometric import GeometricController"),
        ("control_stack/cli/fly.py", "from sim.factory import make"),
        ("sim/analytic.py", "import controllers.lqr"),
        ("controllers/base.py", "from hardware import crazyflie"),
        ("hardware/px4.py", LATE + "import sim.bullet"),
        ("controllers/base.py", "import rclpy"),
        ("sim/bullet.py", LATE + "from sensor_msgs.msg import JointState"),
        ("control_stack/log.py", "from builtin_interfaces.msg import Time"),
        ("control_stack/ros/client.py", LATE + "from launch import LaunchDescription"),
        ("controllers/base.py", "import pybullet as pb"),
        ("sim/bullet.py", "import cflib.crtp"),
        ("controllers/node.py", "from pymavlink import mavutil"),
        ("control_stack/laws/attitude.py", "import casadi"),
        ("sim/bullet.py", LATE + "import casadi as ca"),
        ("control_stack/quadrotor/model.py", "import torch"),
        ("control_stack/quadrotor/model.py", "try:\n    import torch\nexcept ImportError:\n    torch = None"),
        ("controllers/base.py", "class A:\n    import torch.nn"),
        ("control_stack/runs.py", LATE + "import pickle"),
        ("control_stack/runs.py", "import importlib\nsim = importlib.import_module('sim.bullet')"),
    ],
)
def test_forbidden_arrows_are_found(path: str, source: str):
    assert len(arrows_not_allowed(path, source)) == 1


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("control_stack/cli/fly.py", LATE + "from sim.factory import make"),
        (
            "controllers/geometric.py",
            "from control_stack.laws.cascade import InnerLoops\nfrom controllers.base import X",
        ),
        ("controllers/node.py", "import rclpy\nfrom nav_msgs.msg import Odometry"),
        ("control_stack/ros/qos.py", "from rclpy.qos import QoSProfile"),
        ("control_stack/launching.py", LATE + "from launch_ros.actions import Node"),
        ("sim/bullet.py", LATE + "import pybullet"),
        ("hardware/crazyflie.py", LATE + "import cflib"),
        ("control_stack/quadrotor/symbolic.py", LATE + "import casadi"),
        ("control_stack/quadrotor/model.py", LATE + "import torch"),
        ("controllers/base.py", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import torch"),
        ("control_stack/learning/fit.py", "import torch"),
    ],
)
def test_allowed_arrows_are_not(path: str, source: str):
    assert arrows_not_allowed(path, source) == []


@pytest.mark.parametrize(
    "source",
    [
        "import time\nt = time.time()",
        "from time import time",
        "import time\nclock = time.time",
        "torch.load('w.pt')",
        "np.load('a.npy', allow_pickle=True)",
    ],
)
def test_forbidden_uses_are_found(source: str):
    assert len(uses_not_allowed("sim/a.py", source)) == 1
    assert uses_not_allowed("sim/a.py", "import time\nt = time.monotonic()\nnp.load('a.npy', allow_pickle=False)") == []

"""Start a simulated arm and its controller: ros2 launch control_stack arm.launch.py model:=oracle changes:="0:2;5:0".

What gets started is decided by plain functions on plain data, as in fly.launch.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from control_stack.launching import Argument, NodeSpec, described


def arguments() -> tuple[Argument, ...]:
    """All launch arguments."""
    return (
        Argument("controller", "nmpc", "the control law", ("nmpc", "computed-torque")),
        Argument("model", "nominal", "nominal, oracle, learned, or a path of control-stack fit lagrangian"),
        Argument(
            "estimator",
            "own",
            "of what the model does not know",
            ("own", "none", "payload", "force-ekf", "force", "disturbance"),
        ),
        Argument("arm", "panda", "a shipped arm (panda, iiwa, planar), or an arm file or URDF"),
        Argument("reference", "multi_sine", "what is followed", ("multi_sine", "point_to_point")),
        Argument("seed", "0", "of the reference and the sensors' noise"),
        Argument("changes", "", "loads on the way, as T:KG,X,Y,Z;T:KG"),
        Argument("compute_delay", "fixed", "when a command acts", ("none", "fixed", "measured")),
        Argument("log_path", "", "MCAP file to write; empty for none"),
        Argument("namespace", "", "prefix of every topic; empty for none"),
        Argument("lockstep", "true", "whether time waits for the controller", ("true", "false")),
    )


def composition(values: Mapping[str, str]) -> tuple[NodeSpec, ...]:
    """The processes for one set of argument values (name -> text, complete): the arm's, then the controller's."""
    common: dict[str, Any] = {name: values[name] for name in ("arm", "changes", "compute_delay")}
    common["lockstep"] = values["lockstep"] == "true"
    arm = {name: values[name] for name in ("reference", "log_path")} | {"seed": int(values["seed"])}
    controller = {name: values[name] for name in ("controller", "model", "estimator")}
    return (
        NodeSpec("arm_node", "arm", values["namespace"], {**common, **arm}, True),
        NodeSpec("arm_controller_node", "controller", values["namespace"], {**common, **controller}, False),
    )


def generate_launch_description() -> Any:
    """Entry point for `ros2 launch`."""
    return described(arguments(), composition)

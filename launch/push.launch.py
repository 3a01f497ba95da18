"""Start a table and a planner that pushes on it: ros2 launch control_stack push.launch.py controller:=cem.

What gets started is decided by plain functions on plain data, as in fly.launch.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from control_stack.launching import Argument, NodeSpec, described


def arguments() -> tuple[Argument, ...]:
    """All launch arguments."""
    return (
        Argument("controller", "mip", "the planner", ("mip", "branching", "cem", "icem", "mppi")),
        Argument(
            "task",
            "pushing-disc",
            "what is pushed",
            ("pushing-disc", "pushing-box", "pushing-t", "sorting", "rope"),
        ),
        Argument("model", "", "a model.safetensors of control-stack fit sparse; empty: the shipped one of the task"),
        Argument("goal", "", "pose of the object, x,y or x,y,angle in m and rad; empty: drawn by the seed"),
        Argument("seed", "0", "of start, goal and draws"),
        Argument("steps", "60", "of 0.1 s, after which it is over"),
        Argument("deadline", "0.0", "s of wall time of a plan; 0: 0.1 for solvers, none for samplers"),
        Argument("log_path", "", "MCAP file to write; empty for none"),
        Argument("namespace", "", "prefix of every topic; empty for none"),
        Argument("lockstep", "true", "whether time waits for the planner", ("true", "false")),
    )


def composition(values: Mapping[str, str]) -> tuple[NodeSpec, ...]:
    """The processes for one set of argument values (name -> text, complete): the table's, then the planner's."""
    common = {"task": values["task"], "seed": int(values["seed"]), "lockstep": values["lockstep"] == "true"}
    table = {name: values[name] for name in ("goal", "log_path")} | {"steps": int(values["steps"])}
    planner = {name: values[name] for name in ("controller", "model")} | {"deadline": float(values["deadline"])}
    return (
        NodeSpec("task_node", "task", values["namespace"], {**common, **table}, True),
        NodeSpec("planner_node", "planner", values["namespace"], {**common, **planner}, False),
    )


def generate_launch_description() -> Any:
    """Entry point for `ros2 launch`."""
    return described(arguments(), composition)

"""Start a vehicle and its controller: ros2 launch control_stack fly.launch.py backend:=sim|crazyflie|px4.

What gets started is decided by plain functions on plain data.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from control_stack.launching import PACKAGE, Argument, NodeSpec, described

FROM_FILE = "from_params_file"  # leaves the value to params_file, for files of the user's own
OWN = "own"  # the vehicle that a back end is made for
VEHICLES = {"sim": "crazyflie", "crazyflie": "crazyflie", "px4": "x500"}  # back end -> its own vehicle
LINK_LEVELS = ("ctbr", "attitude", "velocity", "position")  # what real vehicles take; rotors nobody offers
LANDING_TIME = 30.0  # s that a node may take to land before it is told again, which cuts


def arguments(default_params_file: Any = "config/fly.yaml") -> tuple[Argument, ...]:
    """All launch arguments; the default file is an argument because only ROS knows the share folder."""
    return (
        Argument("backend", "sim", "what flies: the simulator, or a vehicle behind its link", tuple(VEHICLES)),
        Argument("uri", "", "where a vehicle's link is found; empty takes the back end's default"),
        Argument(
            "arm",
            "false",
            f"whether the service `arm` may let a real vehicle's motors run; {FROM_FILE} keeps params_file's word",
            ("true", "false", FROM_FILE),
        ),
        Argument(
            "simulator",
            "bullet",
            f"which simulator; analytic needs no PyBullet; {FROM_FILE} keeps the one in params_file",
            ("bullet", "analytic", FROM_FILE),
        ),
        Argument(
            "controller",
            "geometric",
            f"control law; {FROM_FILE} keeps the one in params_file, which may be a file of yours",
            ("geometric", "lqr", "nmpc", "gp_cem", "foundation", FROM_FILE),
        ),
        Argument("model", "", "folder of control-stack fit residual, for controller:=nmpc; empty for none"),
        Argument(
            "estimator",
            OWN,
            f"what controller:=nmpc estimates in flight; {OWN}: force with a model, else none",
            (OWN, "none", "force", "wind"),
        ),
        Argument("fallback", "", "controllers that fly on when one fails, joined by commas; empty keeps params_file's"),
        Argument("filter", "", "scene in which unsafe commands are changed; also gp_cem's; empty keeps params_file's"),
        Argument("verify", "", "box file or report that policies must be proved by; empty keeps params_file's"),
        Argument(
            "vehicle",
            OWN,
            f"vehicle description; {OWN}: crazyflie, for px4 x500; {FROM_FILE} keeps the one in params_file, "
            "which may be a YAML of yours",
            (OWN, "crazyflie", "racer", "x500", FROM_FILE),
        ),
        Argument("namespace", "", "prefix of every topic and service, one per vehicle; empty for none"),
        Argument("params_file", default_params_file, "ROS parameter file for the nodes"),
        Argument(
            "use_sim_time",
            "true",
            "let the controller follow the simulator's /clock; beside a real vehicle there is none",
            ("true", "false"),
        ),
    )


def controller_name(values: Mapping[str, str]) -> str:
    """The parameter ``controller``: with what nmpc plans and estimates, and the scene that gp_cem plans in.

    Raises:
        ValueError: It is asked for of another controller.
    """
    parts = [f"estimator={values['estimator']}"] if values["estimator"] != OWN else []
    parts += [f"model={os.path.abspath(values['model'])}"] if values["model"] else []
    if parts and values["controller"] != "nmpc":
        raise ValueError(f"model and estimator are for controller:=nmpc, not for controller:={values['controller']}")
    if values["controller"] == "gp_cem" and values["filter"]:
        parts = [f"filter={os.path.abspath(values['filter'])}"]
    return ":".join([values["controller"], *([",".join(parts)] if parts else [])])


def composition(values: Mapping[str, str]) -> tuple[NodeSpec, ...]:
    """The processes for one set of argument values.

    Args:
        values: argument name -> text, complete.

    Returns:
        The vehicle's process, then the controller's. The launch ends with the vehicle's process: that
        one owns the safety layer and outlives any controller.
    """

    def chosen(**arguments: str) -> dict[str, Any]:
        """Parameter -> value, for the arguments that are not left to the file."""
        return {key: values[name] for key, name in arguments.items() if values[name] != FROM_FILE}

    backend = values["backend"]
    values = {**values, "controller": controller_name(values)}
    own = {OWN: VEHICLES[backend]}
    values = {**values, "vehicle": own.get(values["vehicle"], values["vehicle"])}
    common: dict[str, Any] = {"namespace": values["namespace"], "params_file": values["params_file"]}
    # Ctrl-C in flight: what owns a real vehicle lands it first.
    owning = {**common, "ends_launch": True, "patience": LANDING_TIME}
    controller = chosen(vehicle="vehicle", controller="controller")
    if values["fallback"]:
        controller["fallback"] = values["fallback"]
    controller |= {name: os.path.abspath(values[name]) for name in ("filter", "verify") if values[name]}
    if backend == "sim":
        # The simulator makes /clock, so it never follows it.
        vehicle = chosen(vehicle="vehicle", backend="simulator")
        owner = NodeSpec("sim_node", "sim", parameters=vehicle, **owning)
        controller |= {"use_sim_time": values["use_sim_time"] == "true"}
    else:
        vehicle = {**chosen(vehicle="vehicle"), "backend": backend}
        if values["uri"]:
            vehicle["uri"] = values["uri"]
        if values["arm"] != FROM_FILE:
            vehicle["arm"] = values["arm"] == "true"
        owner = NodeSpec("hardware_node", "hardware", parameters=vehicle, **owning)
        # The time of a real vehicle waits for nobody: the controller answers states as they come.
        controller |= {"lockstep": False, "driven_by": "states", "levels": list(LINK_LEVELS), "use_sim_time": False}
    return owner, NodeSpec("controller_node", "controller", parameters=controller, ends_launch=False, **common)


def generate_launch_description() -> Any:
    """Entry point for `ros2 launch`."""
    from launch.substitutions import PathJoinSubstitution
    from launch_ros.substitutions import FindPackageShare

    return described(arguments(PathJoinSubstitution([FindPackageShare(PACKAGE), "config", "fly.yaml"])), composition)

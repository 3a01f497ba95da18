"""The options of ``control-stack fly``, checked before anything starts, as one configuration."""

from __future__ import annotations

import argparse
import importlib.util
import sys
from pathlib import Path

from control_stack.cli.arguments import check_namespace, check_realtime, check_ros, check_seed
from control_stack.cli.flight import FlyConfig
from control_stack.cli.fly_plan import plan
from control_stack.errors import InvalidInput, MissingDependency
from control_stack.quadrotor.parameters import QuadrotorParameters, load_vehicle, vehicle_names
from control_stack.safety.barrier.filter import build_filter
from control_stack.safety.fence import MARGIN, parse_fence
from control_stack.types import CommandLevel


def resolve(options: argparse.Namespace) -> tuple[FlyConfig, QuadrotorParameters]:
    """Checks everything that can be checked before anything starts. Raises ControlStackError."""
    from controllers.loader import build_controller, check_proved
    from hardware.factory import BACKENDS, make_vehicle
    from sim.air import check_air
    from sim.sensors import sensor_preset
    from sim.wind import parse_wind

    hardware = BACKENDS.get(options.backend)
    options.vehicle = options.vehicle or (hardware.vehicle if hardware else "crazyflie")
    parameters = load_vehicle(options.vehicle)
    levels = tuple(level.value for level in CommandLevel if level is not CommandLevel.JOINTS)
    if hardware:
        _check_hardware(options)
        levels = tuple(v.value for v in make_vehicle(options.backend, parameters, options.uri or "").spec.levels)
    elif options.uri or options.arm:
        _refuse_link_options(options.uri)
    if options.level and options.level not in levels:
        raise InvalidInput(f"--level {options.level}: the link of {options.backend} takes only {', '.join(levels)}")
    if options.level:
        levels = (options.level,)
    options.controller = _with_model(options, options.controller or _default_controller(parameters, levels))
    if options.filter is not None:
        options.controller = _in_scene(options.controller, options.filter)
        options.also, options.fallback = (
            [_in_scene(name, options.filter) for name in names] for names in (options.also, options.fallback)
        )
    controllers = tuple(dict.fromkeys([options.controller, *options.also]))
    accepted = [CommandLevel(v) for v in levels]
    # What they lack (a common level, weights, an airframe they can fly) is said before anything starts.
    built = {name: build_controller(name, parameters, accepted) for name in [*controllers, *options.fallback]}
    if not options.no_ros and not hardware:  # in one process it is checked when that builds them
        check_proved(options.verify, built)
    if options.also and options.no_ros:
        raise InvalidInput("--also needs ROS: with --no-ros nothing can ask for another controller in flight")
    if options.filter is not None:
        _check_filter(options.filter, parameters, levels, [*controllers, *options.fallback])
    parse_wind(options.wind)
    sensor_preset(options.sensors)
    check_air(options.air)
    if not 0.1 <= options.takeoff_height <= 100.0:
        raise InvalidInput(f"--takeoff-height must be between 0.1 and 100 m, got {options.takeoff_height:g}")
    fence = parse_fence(options.fence)
    if fence is not None and options.takeoff_height > fence.height - MARGIN:
        raise InvalidInput(
            f"--takeoff-height {options.takeoff_height:g} is too high for the fence {options.fence}: vehicles stay "
            f"{MARGIN:g} m below its height of {fence.height:g} m"
        )
    check_seed(options.seed)
    namespace = check_namespace(options.namespace)
    check_realtime(options.realtime)
    if not options.no_ros:
        check_ros("fly")
    vehicle = options.vehicle
    if vehicle not in vehicle_names():
        vehicle = str(Path(vehicle).resolve())
    config = FlyConfig(
        vehicle=vehicle,
        backend=options.backend if hardware else _backend(options.backend),
        controller=_absolute(options.controller),
        controllers=tuple(_absolute(name) for name in controllers),
        levels=levels,
        trajectory=options.trajectory,
        wind=options.wind,
        sensors=options.sensors,
        seed=options.seed,
        ros=not options.no_ros,
        namespace=namespace,
        real_time_factor=1.0 if hardware else options.realtime,
        compute_delay=options.compute_delay,
        takeoff_height=options.takeoff_height,
        control_rate=100.0,
        physics_rate=1000.0,
        uri=options.uri or (hardware.uri if hardware else None),
        fallback=tuple(_absolute(name) for name in options.fallback),
        fence=options.fence,
        air=options.air,
        filter=None if options.filter is None else str(Path(options.filter).resolve()),
        verify=None if options.verify is None else str(Path(options.verify).resolve()),
    )
    plan(config, parameters, None)
    return config, parameters


def _check_hardware(options: argparse.Namespace) -> None:
    """Refuses what only a simulator has."""
    for option, value, none in (
        ("--wind", options.wind, "none"),
        ("--sensors", options.sensors, "none"),
        ("--air", options.air, "linear"),
        ("--realtime", options.realtime, None),
        ("--compute-delay", options.compute_delay, "none"),
    ):
        if value != none:
            raise InvalidInput(f"{option} is for simulators: {options.backend} has weather and time of its own")


def _refuse_link_options(uri: str | None) -> None:
    """--uri or --arm for a simulator: says which back end to add. Raises InvalidInput."""
    from hardware.factory import BACKENDS

    kind = next((name for name, backend in BACKENDS.items() if (uri or "").startswith(backend.schemes)), None)
    if uri and kind:
        raise InvalidInput(f"--uri {uri} is a link of {kind}: add --backend {kind}")
    choice = " or ".join(f"--backend {name}" for name in BACKENDS)
    given = "--uri" if uri else "--arm"
    raise InvalidInput(f"{given} is for a vehicle behind a link, simulators have none: add {choice}")


def _default_controller(parameters: QuadrotorParameters, levels: tuple[str, ...]) -> str:
    from controllers.loader import build_controller

    if CommandLevel.ROTORS.value not in levels:
        return "geometric"
    try:
        build_controller("foundation", parameters, [CommandLevel.ROTORS])
    except InvalidInput as error:
        print(f"flying the geometric controller: {error}", file=sys.stderr)
        return "geometric"
    return "foundation"


def _with_model(options: argparse.Namespace, controller: str) -> str:
    """The controller's name with --model and --estimator in it, by which every process builds the same."""
    if options.model is None and options.estimator is None:
        return controller
    if controller != "nmpc":
        given = "--model" if options.model is not None else "--estimator"
        raise InvalidInput(f"{given} is for --controller nmpc, not for '{controller}'")
    if options.model == "":
        raise InvalidInput("--model needs a folder, got an empty name")
    parts = [f"estimator={options.estimator}"] if options.estimator else []
    return "nmpc:" + ",".join([*parts, f"model={options.model}"] if options.model else parts)


def _in_scene(controller: str, scene: str) -> str:
    """The controller's name with the scene in it, for the one that plans with the filter."""
    return f"gp_cem:filter={scene}" if controller == "gp_cem" else controller


def _check_filter(path: str, parameters: QuadrotorParameters, levels: tuple[str, ...], names: list[str]) -> None:
    """Builds the filter for these controllers, to say before anything starts what is wrong with it."""
    from control_stack.flight.controller_side import ControllerSide
    from control_stack.flight.setpoints import Setpoints
    from controllers.loader import build_controller

    accepted = [CommandLevel(v) for v in levels]
    built = {name: build_controller(name, parameters, accepted) for name in dict.fromkeys(names)}
    ControllerSide(built, names[0], Setpoints(parameters.limits), guard=build_filter(path, parameters, 100.0))


def _backend(wanted: str | None) -> str:
    if wanted == "bullet" or (wanted is None and importlib.util.find_spec("pybullet") is not None):
        if importlib.util.find_spec("pybullet") is None:
            raise MissingDependency("pybullet", "sim", "it has wheels up to Python 3.11; or fly --backend analytic")
        return "bullet"
    if wanted is None:
        print("PyBullet is not installed: flying the analytic simulator instead", file=sys.stderr)
    return "analytic"


def _absolute(controller: str) -> str:
    """A user's file by its absolute path: the node has a working directory of its own."""
    file, colon, name = controller.rpartition(":")
    if file == "foundation":
        return f"{file}:{Path(name).resolve()}"
    for kind, key in (("nmpc:", "model="), ("gp_cem:", "filter=")):
        if controller.startswith(kind) and key in controller:
            head, _, path = controller.partition(key)
            return f"{head}{key}{Path(path).resolve()}"
    return f"{Path(file).resolve()}:{name}" if colon and file.endswith(".py") else controller

"""control-stack fly: takes off, flies a trajectory and lands, over ROS 2 or in one process."""

from __future__ import annotations

import argparse
import importlib.util
import re
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from control_stack.artefacts.runs import RunFolder
from control_stack.cli.arguments import check_seed
from control_stack.cli.flight import FlyConfig, Outcome, ProgressBar
from control_stack.cli.interrupts import noted
from control_stack.cli.report import report
from control_stack.errors import InvalidInput, MissingDependency
from control_stack.protocols import Trajectory
from control_stack.quadrotor.parameters import QuadrotorParameters, load_vehicle, vehicle_names
from control_stack.safety.barrier.filter import build_filter
from control_stack.safety.fence import MARGIN, parse_fence
from control_stack.trajectories import parse_trajectory, sample, with_approach
from control_stack.types import CommandLevel, QuadrotorState, Reference

_NAMESPACE = re.compile(r"([A-Za-z_]\w*(/[A-Za-z_]\w*)*)?", re.ASCII)
_LONGEST_FLIGHT = 3600.0  # s of the vehicle's time; every sample of it is held in memory
_EPILOG = """examples:
  control-stack fly                                figure-eight, PyBullet, the foundation policy, over ROS 2
  control-stack fly --backend analytic --no-ros    the same in one process, with the analytic simulator
  control-stack fly --trajectory eight:lap=10,laps=2 --wind 1,0,0+dryden:light
  control-stack fly --trajectory path.csv --vehicle my_quad.yaml
  control-stack fly --controller my_controller.py:MyController
  control-stack fly --controller nmpc --model fit/x500 --vehicle x500 --wind 3,2,0+dryden:5
  control-stack fly --backend crazyflie --uri udp://127.0.0.1:19850 --arm
"""


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Adds the command with its options."""
    from hardware.factory import BACKENDS

    parser = commands.add_parser(
        "fly",
        help="take off, fly a trajectory, land; leaves a run folder with log, picture and summary",
        description=__doc__,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add(
        "--controller",
        metavar="NAME|FILE.py:CLASS",
        help="foundation[:FILE.safetensors], geometric, gp_cem, lqr, nmpc, or your own (default: foundation where "
        "rotor speeds are taken and the vehicle is one it can fly, else geometric)",
    )
    add("--model", metavar="DIR", help="of control-stack fit residual, for nmpc to plan with")
    estimators = "none, force or wind (default: force with --model, else none)"
    add("--estimator", metavar="NAME", help=f"what nmpc estimates in flight: {estimators}")
    add(
        "--also",
        default=[],
        nargs="+",
        metavar="NAME",
        help="further controllers to build, to switch to in flight",
    )
    add(
        "--fallback",
        default=[],
        nargs="+",
        metavar="NAME",
        help="controllers that fly on, in this order, when the one before fails: raises, answers with what cannot be "
        "flown, or, outside lockstep, is too slow",
    )
    add(
        "--fence",
        default="none",
        metavar="X_MIN,Y_MIN,X_MAX,Y_MAX,HEIGHT",
        help="m: the vehicle is stopped inside this box, HEIGHT above where it arms; with = where it begins with -: "
        "--fence=-2,-2,2,2,2.5 (default none)",
    )
    add(
        "--filter",
        metavar="FILE.yaml",
        help="scene (fence, obstacles, limits): commands that are not safe in it are changed, and no others; see "
        "docs/safety.md",
    )
    add(
        "--verify",
        metavar="FILE.json",
        help="box file, or report of control-stack verify: a policy that is not proved to do what it says does not fly",
    )
    add(
        "--level",
        choices=[level.value for level in CommandLevel][:3],
        help="command level (default: the controller's best); not velocity or position, which no shipped controller "
        "emits: one of yours that does is flown at them without this option",
    )
    add(
        "--backend",
        choices=["bullet", "analytic", *BACKENDS],
        help="simulator (default bullet, or analytic where PyBullet is missing), or the link of a vehicle",
    )
    add(
        "--vehicle",
        metavar="NAME|FILE",
        help=f"{', '.join(vehicle_names())}, or a vehicle file (default crazyflie, for px4 x500)",
    )
    uris = ", ".join(f"{name} {backend.uri}" for name, backend in BACKENDS.items())
    add("--uri", metavar="URI", help=f"where a vehicle's link is found (default {uris})")
    add("--arm", action="store_true", help="let a vehicle's motors run; without it a link is only checked")
    add(
        "--trajectory",
        default="eight",
        metavar="WHAT",
        help="hover[:duration=10], eight[:lap=5.5,size=1.0x0.5,laps=3,ramp=3], "
        "excite[:size=2x2x1,period=6,duration=40], FILE.csv, "
        "waypoints:FILE.csv[,speed=1,acceleration=2] (default eight)",
    )
    add(
        "--wind",
        default="none",
        metavar="WIND",
        help="x,y,z in m/s, dryden:light|moderate|severe|<m/s at 20 ft>, or both joined by +; "
        "with = where it begins with -: --wind=-1,0,0",
    )
    add("--sensors", default="none", metavar="PRESET", help="none, mocap, vio or rtk (noise, delay and dropout)")
    full = "full: also what that leaves out: drag that grows with the square of the airspeed"
    add("--air", default="linear", metavar="MODEL", help=f"linear: the drag of the vehicle file (default); {full}")
    add("--no-ros", action="store_true", help="fly in one process, without ROS 2")
    add(
        "--realtime",
        nargs="?",
        const=1.0,
        type=float,
        metavar="FACTOR",
        help="follow the wall clock (times FACTOR) instead of lockstep",
    )
    add(
        "--compute-delay",
        default="none",
        choices=["none", "fixed", "measured"],
        help="when a command acts: none: at once (default); fixed: one control period later, always 10 ms; "
        "measured: after the time that it took to compute",
    )
    add("--takeoff-height", default=1.0, type=float, metavar="M", help="m (default 1)")
    add("--namespace", default="", help="ROS namespace of the vehicle")
    add("--seed", default=0, type=int, help="of gusts and sensor noise (default 0)")
    add("--out", metavar="DIR", help="run folder (default runs/<UTC time>)")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Flies and reports; returns the exit code."""
    config, parameters = resolve(options)
    if config.uri is not None:
        from control_stack.cli.fly_hardware import fly_hardware

        fly = partial(_fly, options.out, config, parameters)
        return fly_hardware(config, parameters, options.arm, partial(plan, config, parameters), fly)
    if config.ros:
        from control_stack.cli.fly_ros import over_ros

        return _fly(options.out, config, parameters, over_ros(config))
    from control_stack.cli.fly_in_process import InProcess

    with InProcess(config, parameters) as flight:
        return _fly(options.out, config, parameters, flight)


def _fly(out: str | None, config: FlyConfig, parameters: QuadrotorParameters, flight: Callable[..., Outcome]) -> int:
    flown: list[Trajectory] = []

    def make(state: QuadrotorState) -> Trajectory:
        flown.append(plan(config, parameters, state))
        return flown[0]

    with noted() as check:  # a run folder, once it is there, is completed
        folder = RunFolder(out)
        folder.write_config(config)
        with ProgressBar() as progress:
            outcome = flight(folder.path, folder.file("flight.mcap"), make, progress, check)
        return report(folder, config, parameters, flown[0] if flown else None, outcome)


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
    if not _NAMESPACE.fullmatch(options.namespace.strip("/")):
        raise InvalidInput(
            f"--namespace must be names of letters, digits and _, joined by /, got '{options.namespace}'"
        )
    if options.realtime is not None and not 0.01 <= options.realtime <= 100.0:
        raise InvalidInput(f"--realtime must be between 0.01 and 100, got {options.realtime:g}")
    if not options.no_ros and importlib.util.find_spec("rclpy") is None:
        raise MissingDependency("rclpy", "ros", "or fly without it: --no-ros")
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
        namespace=options.namespace.strip("/"),
        real_time_factor=1.0 if hardware else options.realtime,
        compute_delay=options.compute_delay,
        takeoff_height=options.takeoff_height,
        control_rate=100.0,
        physics_rate=1000.0,
        uri=options.uri or (hardware.uri if hardware else None),
        fallback=tuple(_absolute(name) for name in options.fallback),
        fence=options.fence,
        filter=None if options.filter is None else str(Path(options.filter).resolve()),
        verify=None if options.verify is None else str(Path(options.verify).resolve()),
    )
    plan(config, parameters, None)
    return config, parameters


def _check_filter(path: str, parameters: QuadrotorParameters, levels: tuple[str, ...], names: list[str]) -> None:
    """Builds the filter for these controllers, to say before anything starts what is wrong with it."""
    from control_stack.flight.controller_side import ControllerSide
    from control_stack.flight.setpoints import Setpoints
    from controllers.loader import build_controller

    accepted = [CommandLevel(v) for v in levels]
    built = {name: build_controller(name, parameters, accepted) for name in dict.fromkeys(names)}
    ControllerSide(built, names[0], Setpoints(parameters.limits), guard=build_filter(path, parameters, 100.0))


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


def _refuse_link_options(uri: str | None) -> None:
    """--uri or --arm for a simulator: says which back end to add. Raises InvalidInput."""
    from hardware.factory import BACKENDS

    kind = next((name for name, backend in BACKENDS.items() if (uri or "").startswith(backend.schemes)), None)
    if uri and kind:
        raise InvalidInput(f"--uri {uri} is a link of {kind}: add --backend {kind}")
    choice = " or ".join(f"--backend {name}" for name in BACKENDS)
    given = "--uri" if uri else "--arm"
    raise InvalidInput(f"{given} is for a vehicle behind a link, simulators have none: add {choice}")


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


def plan(config: FlyConfig, parameters: QuadrotorParameters, state: QuadrotorState | None) -> Trajectory:
    """The trajectory from the hover point above the state (None: the origin), with a way to its start."""
    ground = state.position_w if state is not None else None
    x, y, z = ground.tolist() if ground is not None else (0.0, 0.0, 0.5 * float(parameters.body_size[2]))
    hover = (x, y, z + config.takeoff_height)
    trajectory = parse_trajectory(config.trajectory, hover)
    name, limits = f"trajectory '{config.trajectory}'", parameters.limits
    _check_duration(trajectory, name)
    _check_path(trajectory, name, z, parameters)
    speed, acceleration = min(limits.speed, 1.0), min(limits.acceleration, 2.0)
    whole = with_approach(trajectory, Reference(np.array(hover)), speed, acceleration)
    _check_duration(whole, f"{name}, with the way to its start,")
    if state is not None or config.uri is None:  # where a real vehicle stands is known once it is connected
        _check_fence(whole, name, config.fence, z)
        guard = build_filter(config.filter, parameters, config.control_rate)
        if guard is not None:
            guard.check_start(np.array(hover), "the place at the end of the take-off")
    return whole


def _check_duration(trajectory: Trajectory, name: str) -> None:
    if trajectory.duration > _LONGEST_FLIGHT:
        raise InvalidInput(f"{name} takes {trajectory.duration:.0f} s; a flight lasts at most {_LONGEST_FLIGHT:.0f} s")


def _check_path(trajectory: Trajectory, name: str, ground: float, parameters: QuadrotorParameters) -> None:
    """Refuses what goes below the ground (z, m) or faster than the vehicle flies."""
    path = sample(trajectory)
    lowest = float(path.positions[:, 2].min())
    if lowest < ground:
        raise InvalidInput(f"{name} goes down to z = {lowest:g} m, below the ground at {ground:g} m")
    speeds = np.linalg.norm(path.velocities, axis=1)
    # A jump between two samples shows in no velocity; the mean speed across it never exceeds the true peak.
    means = np.linalg.norm(np.diff(path.positions, axis=0), axis=1) / np.diff(path.times)
    speeds[1:] = np.maximum(speeds[1:], means)
    fastest, limit = int(np.argmax(speeds)), parameters.limits.speed
    if speeds[fastest] > 1.01 * limit:
        raise InvalidInput(
            f"{name} reaches {speeds[fastest]:.4g} m/s {path.times[fastest]:.3g} s after its start; "
            f"{parameters.name} flies at most {limit:g} m/s (max_speed of its vehicle file)"
        )


def _check_fence(trajectory: Trajectory, name: str, text: str, ground: float) -> None:
    """Refuses what would be stopped at the fence."""
    fence = parse_fence(text)
    if fence is None:
        return
    path = sample(trajectory)
    for t, place in zip(path.times, path.positions, strict=True):
        if not fence.contains(place, ground, MARGIN):
            x, y, z = place.tolist()
            raise InvalidInput(
                f"{name} leaves the fence {text}: it comes to {x:.3g}, {y:.3g}, {z:.3g} m {t:.3g} s after take-off, "
                f"and vehicles stay {MARGIN:g} m inside"
            )


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

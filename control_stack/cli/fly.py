"""control-stack fly: takes off, flies a trajectory and lands, over ROS 2 or in one process."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial

from control_stack.artefacts.runs import RunFolder
from control_stack.cli.flight import FlyConfig, Outcome, ProgressBar
from control_stack.cli.fly_options import resolve
from control_stack.cli.fly_plan import plan
from control_stack.cli.interrupts import noted
from control_stack.cli.report import report
from control_stack.protocols import Trajectory
from control_stack.quadrotor.parameters import QuadrotorParameters, vehicle_names
from control_stack.types import CommandLevel, QuadrotorState

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

"""control-stack arm: moves a simulated arm with a load along a reference, over ROS 2 or in one process.

A node owns the arm (PyBullet, joint torques), another controls it. DIR gets config.yaml, summary.json, arm.mcap and
arm.png. The exit code is 0 if the flange's error stays within --tolerance (RMS) to the reference's end.
"""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass
from pathlib import Path

from control_stack.arm.changes import changes_of, load_of
from control_stack.arm.draws import KINDS
from control_stack.artefacts.runs import RunFolder
from control_stack.cli.arguments import check_namespace, check_ros, check_seed
from control_stack.cli.episode import add_run_options
from control_stack.cli.interrupts import noted
from control_stack.errors import InvalidInput

_EPILOG = """examples:
  control-stack arm --load 2,0.05,0,0.1                             NMPC, nominal model, 2 kg held, over ROS 2
  control-stack arm --model oracle --load 2 --drop 5 --no-ros       true parameters, in one process
  control-stack arm --estimator payload --load 3 --swap 4:1,0.1,0,0
  control-stack arm --model learned --load 2.5                      the model that ships, with its own estimator
  control-stack arm --model fit/panda --load 2.5                    a model of control-stack fit lagrangian
"""


@dataclass(frozen=True)
class ArmConfig:
    """A run, resolved: saved as config.yaml in the run folder. deadline: 0 for none. changes: as ``changes_of``."""

    controller: str
    model: str
    estimator: str
    arm: str
    reference: str
    duration: float
    seed: int
    changes: str
    friction: float
    sensors: str
    compute_delay: str
    deadline: float
    settings: str
    tolerance: float
    real_time_factor: float | None
    ros: bool
    namespace: str


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Adds the command with its options."""
    parser = commands.add_parser(
        "arm",
        help="move an arm with a load along a reference; leaves a run folder with log, picture and summary",
        description=__doc__,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--controller", default="nmpc", metavar="NAME", help="nmpc (default) or computed-torque")
    add("--model", default="nominal", metavar="NAME|PATH",
        help="nominal (default: as if nothing were held), oracle (told the load), learned (the model that ships), or "
        "a folder or file of control-stack fit lagrangian")  # fmt: skip
    add("--estimator", default="own", metavar="NAME",
        help="own (default: a learned model's), none, or with the nominal model payload, force-ekf, "
        "force or disturbance")  # fmt: skip
    add("--arm", default="panda", metavar="NAME|FILE", help="panda (default), iiwa, planar, or an arm file or URDF")
    add("--reference", default="multi_sine", choices=KINDS, help="what is followed (default multi_sine)")
    add("--duration", default=10.0, type=float, metavar="S", help="of the reference, from 4 to 60 s (default 10)")
    add("--seed", default=0, type=int, help="of the reference and the sensors' noise (default 0)")
    add("--load", default="", metavar="KG[,X,Y,Z]",
        help="held from the start: mass, and its place in the flange's frame, m (default: nothing)")  # fmt: skip
    add(
        "--swap",
        default=[],
        action="append",
        metavar="T:KG[,X,Y,Z]",
        help="from T s on this load instead; may be repeated",
    )
    add("--drop", default=None, type=float, metavar="T", help="s after which nothing is held")
    add("--friction", default=1.0, type=float, metavar="FACTOR", help="on the simulated arm's friction (default 1)")
    add("--sensors", default="typical", choices=("typical", "none"), help="noise of what is measured (default typical)")
    add("--compute-delay", default="fixed", choices=("none", "fixed", "measured"),
        help="when a command acts: none: at once; fixed: a period of 20 ms after its state (default); measured: after "
        "the time it took")  # fmt: skip
    add(
        "--deadline",
        default=0.0,
        type=float,
        metavar="S",
        help="wall time of a whole NMPC call, s (default 0: none)",
    )
    add("--settings", default="", metavar="FILE", help="JSON of the controller's settings (default: as tuned)")
    add("--tolerance", default=0.1, type=float, metavar="M", help="RMS error of the flange, m (default 0.1)")
    add_run_options(parser, "arm")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Moves the arm and reports; returns the exit code."""
    config = resolve(options)
    from control_stack.cli.arm_report import report

    with noted() as check:  # a run folder, once it is there, is completed
        folder = RunFolder(options.out)
        folder.write_config(config)
        log = folder.file("arm.mcap")
        if config.ros:
            from control_stack.cli.arm_ros import over_ros

            outcome = over_ros(config, folder.path, log, check)
        else:
            from control_stack.cli.arm_in_process import in_process

            outcome = in_process(config, log, check)
        return report(folder, config, outcome)


def resolve(options: argparse.Namespace) -> ArmConfig:
    """Checks everything that can be checked before anything starts. Raises ControlStackError."""
    from control_stack.arm.library import load_arm
    from controllers.arm.factory import make_controller, read_settings
    from controllers.arm.models import MODELS, SHIPPED
    from sim.arm.bullet import BulletArm
    from sim.arm.closed_loop import simulation, start_reference
    from sim.bullet import import_pybullet

    check_seed(options.seed)
    for name, value, low, high in (
        ("duration", options.duration, 4.0, 60.0),
        ("friction", options.friction, 0.0, 10.0),
        ("deadline", options.deadline, 0.0, 1.0),
        ("tolerance", options.tolerance, 1e-4, 10.0),
        ("realtime", 1.0 if options.realtime is None else options.realtime, 0.01, 100.0),
        ("drop", 0.0 if options.drop is None else options.drop, 0.0, 60.0),
    ):
        if not (math.isfinite(value) and low <= value <= high):
            raise InvalidInput(f"--{name} must be from {low:g} to {high:g}, got {value:g}")
    if options.realtime is not None and options.no_ros:
        raise InvalidInput("--realtime needs ROS: with --no-ros the arm waits for every command")
    namespace = check_namespace(options.namespace)
    import_pybullet("the arm is simulated in it")
    if options.load:
        load_of(options.load)
    parts = [f"0:{options.load}"] if options.load else []
    parts += options.swap
    parts += [f"{options.drop!r}:0"] if options.drop is not None else []
    changes = ";".join(parts)
    if any(change.t >= options.duration for change in changes_of(changes)):
        raise InvalidInput(f"a change of load comes after the reference's end at {options.duration:g} s")
    arm = load_arm(options.arm)
    start_reference(arm, options.reference, options.seed, options.duration, changes_of(changes))
    settings = read_settings(options.settings) if options.settings else None
    make_controller(
        arm, options.controller, options.model, options.estimator, changes=changes_of(changes), settings=settings
    )
    BulletArm(arm, simulation(options.seed, options.sensors, options.friction))
    if not options.no_ros:
        check_ros("move the arm")
    is_path = options.model not in (*MODELS, SHIPPED)
    return ArmConfig(
        controller=options.controller,
        model=str(Path(options.model).resolve()) if is_path else options.model,
        estimator=options.estimator,
        arm=str(Path(options.arm).resolve()) if Path(options.arm).is_file() else options.arm,
        reference=options.reference,
        duration=options.duration,
        seed=options.seed,
        changes=changes,
        friction=options.friction,
        sensors=options.sensors,
        compute_delay=options.compute_delay,
        deadline=options.deadline,
        settings=str(Path(options.settings).resolve()) if options.settings else "",
        tolerance=options.tolerance,
        real_time_factor=options.realtime,
        ros=not options.no_ros,
        namespace=namespace,
    )

"""An arm and its controller in one process."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from control_stack.artefacts.log import FlightLog
from control_stack.cli.arm import ArmConfig
from control_stack.cli.episode import EpisodeOutcome, bar
from control_stack.errors import InputRejected


def in_process(config: ArmConfig, log: Path, check: Callable[[], None]) -> EpisodeOutcome:
    """Controls and simulates in turn; ``check`` raises KeyboardInterrupt when the user has ended it."""
    from control_stack.arm.changes import changes_of
    from control_stack.arm.library import load_arm
    from controllers.arm.base import following
    from controllers.arm.factory import RATE_HZ, assumed_delay, make_controller, read_settings
    from controllers.arm.report import values
    from sim.arm.bullet import BulletArm
    from sim.arm.closed_loop import ArmLoop, delay_of, simulation, start_reference

    parameters, changes = load_arm(config.arm), changes_of(config.changes)
    controller = make_controller(
        parameters,
        config.controller,
        config.model,
        config.estimator,
        changes=changes,
        delay=assumed_delay(config.compute_delay),
        deadline=config.deadline or None,
        settings=read_settings(config.settings) if config.settings else None,
    )
    outcome = EpisodeOutcome()
    arm = BulletArm(parameters, simulation(config.seed, config.sensors, config.friction))
    arm.connect()
    try:
        reference = start_reference(parameters, config.reference, config.seed, config.duration, changes)
        with FlightLog(log) as recorder:
            loop = ArmLoop(arm, reference, changes, delay_of(config.compute_delay, 1.0 / RATE_HZ), recorder)
            with bar("arm", loop.total) as progress:
                while not loop.over:
                    check()
                    t, began = loop.t, time.monotonic()
                    try:
                        command = controller(t, arm.state(), following(reference, t))
                    except InputRejected as error:
                        outcome.rejections[str(error.reason)] = outcome.rejections.get(str(error.reason), 0) + 1
                        command = None
                    waited = time.monotonic() - began
                    loop.computed(t, values(controller))
                    loop.answer(command, waited)
                    progress.update(loop.taken - progress.n)
    except KeyboardInterrupt:
        outcome.interrupted = True
    finally:
        arm.close()
    return outcome

"""Collecting what an arm does under changing loads, to learn its dynamics from.

Every episode is a reference that computed torque follows at 50 Hz while Bullet runs at 1 kHz. Drawn for each: the
joints' friction, what the flange holds and when that changes, the controller's gains and how much of the load it knows
of. What is stored is the true state: noise of the sensors is drawn by who learns from it, a new one for every use.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from control_stack.arm.draws import KINDS, draw_load, draw_reference
from control_stack.arm.dynamics import ArmDynamics
from control_stack.arm.library import load_arm
from control_stack.arm.load import NO_LOAD, Load
from control_stack.arm.parameters import ArmParameters
from control_stack.artefacts import tensors as artefact
from control_stack.artefacts.runs import plain, provenance
from control_stack.errors import InvalidInput
from control_stack.learning.data import FILE, Dataset, dataset
from control_stack.learning.lagrangian.labels import LABELS
from control_stack.protocols import JointTrajectory
from control_stack.types import Array, JointCommand
from sim.arm.bullet import BulletArm
from sim.arm.collect_picture import collection_picture
from sim.arm.config import TYPICAL_SENSORS, ArmSimulationConfig
from sim.parts import Collected, collect_in_parts

EPISODES, STEPS = 280, 500
RATE_HZ = 50.0
PART = 10  # episodes: some ten seconds of work, which a kill may cost
FRICTION = (0.4, 2.2)  # least and most factor on the arm's own friction
_SHORTEST = 150  # steps
_CHANGES = (0.35, 0.35, 0.2, 0.1)  # probabilities of 0, 1, 2, 3 changes of the load in an episode
_EMPTY = 0.25  # share of stretches without a load
_GAINS = (8.0, 15.0)  # rad/s, of the tracking error's decay
_APART = 1.0  # s, least time between changes


@dataclass(frozen=True)
class ArmOrder:
    """What is to be collected; a folder holds one order's data. ``arm``: name or path."""

    task: str
    arm: str
    episodes: int
    seed: int
    steps: int


class ArmEpisode(NamedTuple):
    """states (T + 1, 2n), torques (T, n) as sent, load (T, 10) in the flange, friction (n,) factors."""

    states: Array
    inputs: Array
    load: Array
    friction: Array


def collect(
    order: ArmOrder,
    folder: Path,
    workers: int = 1,
    command: str = "",
    report: Callable[[int], None] = lambda done: None,
) -> Collected:
    """Collects into a folder: see ``collect_in_parts``. ``command``: that does the same again, for the card."""
    arm = load_arm(order.arm)
    if order.steps < _SHORTEST:
        raise InvalidInput(f"an arm's episode needs at least {_SHORTEST} steps: its references take 3 s or more")
    join = partial(_join, order, arm, folder, command)
    return collect_in_parts(order, PART, partial(_part, order), join, folder, workers, report)


def episode(arm: ArmParameters, seed: int, number: int, steps: int) -> ArmEpisode:
    """Episode ``number`` of a seed."""
    rng = np.random.default_rng((seed, number))
    friction = _friction(rng, arm.joints)
    true = arm.with_friction_scaled(friction)
    duration = steps / RATE_HZ
    kind = KINDS[int(rng.random() < 0.25)]
    reference = draw_reference(true, int(rng.integers(2**31)), kind, duration=duration)
    changes = _changes(true, reference, duration, rng)
    start = tuple(reference(0.0).position.tolist())
    config = ArmSimulationConfig(
        seed=int(rng.integers(2**31)), sensors=TYPICAL_SENSORS, position=start, friction=tuple(friction.tolist())
    )
    gain, known = rng.uniform(*_GAINS), rng.uniform() * (rng.random() < 0.7)
    simulated, model = BulletArm(arm, config), ArmDynamics(arm, 1.0 / RATE_HZ)
    simulated.connect()
    try:
        simulated.arm()
        states, inputs, loads = [], [], []
        for k in range(steps):
            while changes and changes[0][0] <= k / RATE_HZ:
                simulated.attach(changes.pop(0)[1])
            wanted, seen = reference(k / RATE_HZ), simulated.state()
            true_state, p = simulated.true_state(), simulated.load.parameters
            push = gain**2 * (wanted.position - seen.position) + 2.0 * gain * (wanted.velocity - seen.velocity)
            tau = model.inverse(seen.position, seen.velocity, wanted.acceleration + push, known * p)
            states.append(np.concatenate([true_state.position, true_state.velocity]))
            inputs.append(simulated.send(JointCommand(tau)).effort)
            loads.append(p)
            simulated.step(1.0 / RATE_HZ)
        last = simulated.true_state()
        states.append(np.concatenate([last.position, last.velocity]))
    finally:
        simulated.close()
    return ArmEpisode(np.array(states), np.array(inputs), np.array(loads), friction)


def _friction(rng: np.random.Generator, n: int) -> Array:
    """Factors: the arm's own in a quarter of all episodes, one for all joints in another, else one each."""
    low, high = np.log(FRICTION)
    drawn, which = np.exp(rng.uniform(low, high, n)), rng.random()
    return np.ones(n) if which < 0.25 else np.full(n, drawn[0]) if which < 0.5 else drawn


def _changes(
    arm: ArmParameters, reference: JointTrajectory, duration: float, rng: np.random.Generator
) -> list[tuple[float, Load]]:
    """(time, load) from time 0 on: each within 80 % of the torque limits along the whole reference."""
    count = int(rng.choice(len(_CHANGES), p=_CHANGES))
    times = [0.0]
    for t in np.sort(rng.uniform(_APART, max(duration - _APART, _APART), count)).tolist():
        if t - times[-1] >= _APART:
            times.append(t)
    loads = [NO_LOAD if rng.random() < _EMPTY else draw_load(arm, [reference], rng) for _ in times]
    return list(zip(times, loads, strict=True))


def _part(order: ArmOrder, start: int) -> dict[str, Array]:
    arm = load_arm(order.arm)
    made = [episode(arm, order.seed, k, order.steps) for k in range(start, min(start + PART, order.episodes))]
    return {name: np.stack([getattr(e, name) for e in made]) for name in ArmEpisode._fields}


def _join(
    order: ArmOrder, arm: ArmParameters, folder: Path, command: str, parts: Sequence[Mapping[str, Array]]
) -> Dataset:
    """The parts as one data set with its card; writes the labels and draws the picture."""
    whole = {name: np.concatenate([part[name] for part in parts]) for name in ArmEpisode._fields}
    spec = ArmDynamics(arm, 1.0 / RATE_HZ).spec
    bare = spec.__class__(spec.state, spec.inputs, (), np.zeros(0), spec.dt)
    data = dataset(list(zip(whole["states"], whole["inputs"], strict=True)), bare)
    share = np.abs(whole["inputs"]) >= arm.torque_limit
    card: dict[str, Any] = {
        **asdict(order),
        "transitions": data.steps,
        "arm_parameters": plain(arm),
        "sensors": plain(TYPICAL_SENSORS),
        "stored": "true states; torques as sent at 50 Hz, held; add the sensors' noise to learn from",
        "friction_factors": FRICTION,
        "stretches": int((np.abs(np.diff(whole["load"], axis=1)).max(-1) > 0.0).sum() + order.episodes),
        "saturated_share": share.mean(axis=(0, 1)),
        "command": command,
        **provenance(),
    }
    artefact.write(folder / LABELS, {"load": whole["load"], "friction": whole["friction"]}, {"of": FILE}, "labels")
    collection_picture(arm, whole, folder / "picture.png", f"{arm.name}, seed {order.seed}")
    return replace(data, card=plain(card))

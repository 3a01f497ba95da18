"""How tight the policy's proved actions are, by what is assumed of its hidden state.

    python -m benchmarks.lipschitz_memory

A hover in light gusts, recorded call by call, gives each observation and each hidden state a range. Boxes of that size
and smaller are verified in more and more parts; the proved range is told over that of samples in the same box.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from control_stack.artefacts.tables import table
from control_stack.foundation.observation import OBSERVATION_SIZE
from control_stack.foundation.pacing import PacedPolicy
from control_stack.foundation.runtime import GRUPolicy, Stepper
from control_stack.foundation.weights import PolicyWeights, load
from control_stack.quadrotor.parameters import load_vehicle
from control_stack.trajectories.hover import Hover
from control_stack.types import Array, CommandLevel, QuadrotorState
from control_stack.verification import verify_policy
from controllers.foundation import FoundationController
from sim.config import SimulationConfig
from sim.factory import make_vehicle
from sim.wind import parse_wind

DT, START, SETTLED, END = 0.01, (0.0, 0.0, 1.0), 4.0, 10.0  # s, m, s, s
PARTS = (1, 512, 4096)
# (name, part of the hover's range, whether the hidden state is in the box)
BOXES = (
    ("hover, any hidden state", 1.0, False),
    ("hover", 1.0, True),
    ("half as wide", 0.5, True),
    ("a fifth as wide", 0.2, True),
)


class Recorded(GRUPolicy):
    """A policy that keeps what it saw and remembered at each step, in ``rows``."""

    def __init__(self, weights: PolicyWeights):
        super().__init__(weights)
        self.rows: list[Array] = []

    def stepper(self) -> Stepper:
        """One that records."""
        rows = self.rows

        class Recording(Stepper):
            def step(self, observation: Any) -> Any:
                rows.append(np.concatenate([observation, self.hidden]).astype(float))
                return super().step(observation)

        return Recording(self.weights)


def hover(seed: int) -> Array:
    """(steps, 22 + hidden) of a hover, once it has settled."""
    parameters = load_vehicle("crazyflie")
    vehicle = make_vehicle(
        "analytic", parameters, SimulationConfig(seed=seed, position_w=START, wind=parse_wind("dryden:light"))
    )
    vehicle.connect()
    rest = np.zeros(3)
    rotors = np.full(4, parameters.hover_rotor_speed)
    vehicle.reset(QuadrotorState(np.array(START), rest, np.array([0.0, 0.0, 0.0, 1.0]), rest, rotors, 0.0))
    vehicle.arm()
    controller, path, policy = FoundationController(parameters, CommandLevel.ROTORS), Hover(START), Recorded(load())
    controller._policy = PacedPolicy(policy, 1.0 / DT)
    for _ in range(round(END / DT)):
        state = vehicle.state()
        vehicle.send(controller(state.stamp, state, path(state.stamp)))
        vehicle.step(DT)
    vehicle.close()
    return np.array(policy.rows[round(SETTLED / DT) :])


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    seen = hover(parser.parse_args(arguments).seed)
    first = load()["gru.initial_hidden"]
    outside = int((np.abs(first) > 1.0).sum())
    print(f"first hidden state: {first.min():.3g} .. {first.max():.3g}, {outside} outside [-1, 1]")
    low, high = seen.min(0), seen.max(0)
    rows = []
    for name, share, remembered in BOXES:
        size = None if remembered else OBSERVATION_SIZE
        middle, half = 0.5 * (low + high)[:size], 0.5 * share * (high - low)[:size]
        asked = {"lower": (middle - half).tolist(), "upper": (middle + half).tolist()}
        for parts in PARTS:
            began = time.process_time()
            outputs = verify_policy(None, asked, parts)["outputs"]
            seconds = time.process_time() - began
            over = [(o["upper"] - o["lower"]) / (o["seen_upper"] - o["seen_lower"]) for o in outputs]
            rows.append((name, parts, min(over), max(over), outputs[0]["lower"], outputs[0]["upper"], seconds))
    print(table(rows, ("box", "parts", "over samples, least", "most", "first rotor from", "to", "CPU s")))


if __name__ == "__main__":
    main()

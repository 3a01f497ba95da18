"""Time of one policy step for one vehicle: this stack's node runtime against the authors' wheel, paired.

Run: python -m benchmarks.policy_step [--seed N] [--weights FILE]

Each pair steps both on the same observation, one right after the other in alternating order; the ratio is the
median over pairs, so that what else runs on the machine slows both alike. The time depends on the size of the
network, not on its weights; without shipped weights and without --weights the peer's own stand in.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np

from control_stack.artefacts.tables import BenchRow, bench_report
from control_stack.errors import MissingDependency
from control_stack.foundation.observation import NO_LEAD
from control_stack.foundation.runtime import GRUPolicy
from control_stack.foundation.weights import PolicyWeights, load, shipped_path
from control_stack.quadrotor.parameters import load_vehicle
from control_stack.types import CommandLevel, QuadrotorState, Reference
from controllers.foundation import FoundationController

TARGET = "<= 0.6"  # of the peer's step


def peer_policy() -> Any:
    """The authors' released policy with their NumPy runtime."""
    try:
        import foundation_policy
    except ImportError:
        raise MissingDependency("foundation_policy", "dev") from None
    return foundation_policy.Raptor()


def peer_weights(peer: Any) -> PolicyWeights:
    """The peer's numbers in our layout, to compare runtimes on equal work."""
    dense, gru, out = peer.layers
    tensors = {
        "input.weight": dense.weights,
        "input.bias": dense.biases.ravel(),
        "gru.weight_ih": gru.weights_input,
        "gru.weight_hh": gru.weights_hidden,
        "gru.bias_ih": gru.biases_input,
        "gru.bias_hh": gru.biases_hidden,
        "gru.initial_hidden": gru.initial_hidden_state,
        "output.weight": out.weights,
        "output.bias": out.biases.ravel(),
    }
    return PolicyWeights(tensors, {"lead": NO_LEAD._asdict()})


def paired_times(seed: int, pairs: int, weights: PolicyWeights, peer: Any) -> tuple[np.ndarray, np.ndarray]:
    """(pairs,) seconds of our step and of the peer's, after a warm-up of a tenth of the pairs."""
    observations = np.random.default_rng(seed).standard_normal((pairs + pairs // 10, 22)).astype(np.float32)
    ours = GRUPolicy(weights).stepper().step
    peer.reset()
    theirs = peer.evaluate_step
    times = np.empty((len(observations), 2))
    clock = time.perf_counter
    for i, x in enumerate(observations):
        batch = x[None]
        if i % 2:
            t0 = clock()
            ours(x)
            t1 = clock()
            theirs(batch)
            t2 = clock()
            times[i] = t1 - t0, t2 - t1
        else:
            t0 = clock()
            theirs(batch)
            t1 = clock()
            ours(x)
            t2 = clock()
            times[i] = t2 - t1, t1 - t0
    kept = times[pairs // 10 :]
    return kept[:, 0], kept[:, 1]


def controller_times(seed: int, calls: int, weights: PolicyWeights) -> np.ndarray:
    """(calls,) seconds of the whole controller call: observation, network, clock, rotor speeds."""
    random = np.random.default_rng(seed)

    controller = FoundationController.flying(weights)(load_vehicle("crazyflie"), CommandLevel.ROTORS)
    reference = Reference(np.zeros(3))
    upright = np.array([0.0, 0.0, 0.0, 1.0])
    times = []
    for k in range(calls + calls // 10):
        noise = 0.01 * random.standard_normal((3, 3))
        state = QuadrotorState(noise[0], noise[1], upright, noise[2], None, k / 100.0)
        started = time.perf_counter()
        controller(k / 100.0, state, reference)
        times.append(time.perf_counter() - started)
    return np.array(times[calls // 10 :])


def measure(seed: int = 0, quick: bool = False, weights: str | Path | None = None) -> list[BenchRow]:
    """All rows of this benchmark."""
    pairs = 3000 if quick else 20000
    peer = peer_policy()
    own = load(weights) if weights or shipped_path().is_file() else peer_weights(peer)
    ours, theirs = paired_times(seed, pairs, own, peer)
    test = "policy step, one vehicle"
    rows = [BenchRow(test, "ratio to the peer, p50 of pairs", float(np.median(ours / theirs)), "1", TARGET)]
    calls = 1e6 * controller_times(seed, pairs // 2, own)
    for q in (50, 99):
        step, peers = (1e6 * float(np.percentile(times, q)) for times in (ours, theirs))
        rows.append(BenchRow(test, f"p{q}", step, "us", peer=peers))
        rows.append(BenchRow("foundation controller call", f"p{q}", float(np.percentile(calls, q)), "us"))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--weights", metavar="FILE")
    options = parser.parse_args()
    bench_report(measure(options.seed, weights=options.weights), None, options.seed)


if __name__ == "__main__":
    main()

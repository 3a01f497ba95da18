"""Tunes the estimators of the quadrotor's NMPC: each by as many random trials as the other, on winds of their own.

    python scripts/tune_estimators.py --out controllers/nmpc/estimators.json [--trials 12] [--model DIR]

Every trial flies the eight of ``bench nmpc`` with other noises of the filter, the first one with those that are used
now; the mean error decides. The force observer is tuned with the nominal model, the wind filter with the learned
residual, as each is flown. What wins is written to OUT, which controllers read.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.nmpc_wind import LEVEL, STEP, VEHICLE, controller, fitted, fly_eight
from control_stack.artefacts.runs import write_json
from control_stack.learning.residual_file import load_residual
from control_stack.quadrotor.parameters import load_vehicle
from controllers.nmpc.disturbance import FilterNoise, estimator_noise

# None of them is flown in the bench.
WINDS = ("3,-3,0+dryden:5", "-5,1,0+dryden:7")
# Of the logarithm's uniform draws: from, to.
RATE, VELOCITY, MEASURED = (0.3, 10.0), (0.01, 0.3), (0.01, 0.06)


def main() -> None:
    """Prints every trial, and writes the best of each estimator."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", required=True, type=Path, help="JSON")
    parser.add_argument("--trials", type=int, default=12, help="of each estimator (default 12)")
    parser.add_argument("--model", metavar="DIR", help="of control-stack fit residual (default: fitted now)")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if options.model:
        learned = load_residual(options.model, load_vehicle(VEHICLE), LEVEL, STEP)
    else:
        learned = fitted(False, options.seed)
    found = {}
    for kind in ("force", "wind"):
        random, best = np.random.default_rng(options.seed), (np.inf, estimator_noise(kind))
        for trial in range(options.trials):
            noise = draw(kind, random) if trial else estimator_noise(kind)
            pilot = controller(learned if kind == "wind" else None, noise)
            error = float(np.mean([fly_eight(pilot, wind, 50 + k).rmse() for k, wind in enumerate(WINDS)]))
            print(f"{kind} {trial}: {1e3 * error:.2f} mm  {noise}", flush=True)
            best = min(best, (error, noise), key=lambda tried: tried[0])
        print(f"{kind}, best of {options.trials}: {1e3 * best[0]:.2f} mm  {best[1]}", flush=True)
        found[kind] = asdict(best[1])
    write_json(options.out, found)


def draw(kind: str, random: np.random.Generator) -> FilterNoise:
    """Noises of one trial."""
    rate, velocity, measured = (
        round(float(np.exp(random.uniform(*np.log(span)))), 5) for span in (RATE, VELOCITY, MEASURED)
    )
    rate *= 3.0 if kind == "wind" else 1.0  # a wind of 3 m/s does about what a force of 1 m/s^2 does
    return FilterNoise(**{kind: rate}, velocity=velocity, measured=measured)


if __name__ == "__main__":
    main()

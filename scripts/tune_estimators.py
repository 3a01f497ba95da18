"""Tunes the estimators of the quadrotor's NMPC: each by as many random trials as the other, on winds of their own.

    python scripts/tune_estimators.py [--trials 12] [--model DIR]

Every trial flies the eight of ``bench nmpc`` with other noises of the filter; the mean error decides. The force
observer is tuned with the nominal model, the wind filter with the learned residual, as each is flown. The values that
win go into ``ESTIMATORS`` of controllers/nmpc/disturbance.py.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.nmpc_wind import LEVEL, STEP, VEHICLE, controller, fitted, fly_eight
from control_stack.learning.residual_file import load_residual
from control_stack.quadrotor.parameters import load_vehicle
from controllers.nmpc.disturbance import FilterNoise

# None of them is flown in the bench.
WINDS = ("3,-3,0+dryden:5", "-5,1,0+dryden:7")
# Of the logarithm's uniform draws: from, to.
RATE, VELOCITY, MEASURED = (0.3, 10.0), (0.01, 0.3), (0.01, 0.06)


def main() -> None:
    """Prints every trial and the best of each estimator."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=12, help="of each estimator (default 12)")
    parser.add_argument("--model", metavar="DIR", help="of control-stack fit residual (default: fitted now)")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if options.model:
        learned = load_residual(options.model, load_vehicle(VEHICLE), LEVEL, STEP)
    else:
        learned = fitted(False, options.seed)
    for kind in ("force", "wind"):
        random, best = np.random.default_rng(options.seed), (np.inf, None)
        for trial in range(options.trials):
            rate, velocity, measured = (
                float(np.exp(random.uniform(*np.log(span)))) for span in (RATE, VELOCITY, MEASURED)
            )
            rate *= 3.0 if kind == "wind" else 1.0  # a wind of 3 m/s does about what a force of 1 m/s^2 does
            noise = FilterNoise(**{kind: rate}, velocity=velocity, measured=measured)
            pilot = controller(learned if kind == "wind" else None, noise)
            error = float(np.mean([fly_eight(pilot, wind, 50 + k).rmse() for k, wind in enumerate(WINDS)]))
            print(f"{kind} {trial}: {1e3 * error:.2f} mm  {noise}", flush=True)
            if error < best[0]:
                best = (error, noise)
        print(f"{kind}, best of {options.trials}: {1e3 * best[0]:.2f} mm  {best[1]}", flush=True)


if __name__ == "__main__":
    main()

"""The table of the foundation policy: {peer, ours} x {bare, with our wrapper} on the same airframes and seeds.

Both policies are flown as they are shipped: ours by its NumPy runtime, the peer by its authors' wheel. Airframes,
starts, forces and sensor noise of a test come from one seed, so the two differ in nothing but the policy.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from control_stack.artefacts.tables import BenchRow, Findings
from control_stack.foundation.airframes import Airframes, concatenate
from control_stack.foundation.observation import Wrapper
from control_stack.foundation.runtime import GRUPolicy
from control_stack.foundation.training.battery import TESTS, fly_test
from control_stack.foundation.training.evaluation import LOST_ERROR, Pilot
from control_stack.types import Array

CHATTER = ("hover, calm, after 2 s", "hover, sensor noise, after 2 s")
CHANGE = "action's change per step"
WRAPPED = ", with wrapper"
STEADY_FORCE = ("sideways force 10 %", "sideways force 30 %")
# Airframe quantities by which failures are listed.
QUANTITIES = ("thrust_to_weight", "torque_to_inertia", "mass", "torque_constant", "rise_time", "fall_time")
PERCENTILES = (5, 25, 50, 75, 95)
_LISTED = 200  # lost airframes of a test and a policy that are listed one by one
_RESAMPLES = 1000


@dataclass(frozen=True)
class Wanted:
    """Targets of a test: survived %, and error m, which must hold over those that both survive and over all."""

    survived: float | None = None
    error: float | None = None
    wrapped: bool = False  # claimed with the wrapper, on both policies


TARGETS = {
    "hover, random force": Wanted(99.9, 0.008),
    "hover, calm": Wanted(error=0.003),
    "hover 50 s": Wanted(99.9),
    "torque/inertia 40-100": Wanted(99.0),
    "eight, 10 s lap": Wanted(error=0.010, wrapped=True),
    "eight, 5.5 s lap": Wanted(error=0.030, wrapped=True),
    "sideways force 30 %": Wanted(error=0.02),
    "velocity delay 40 ms": Wanted(99.9, 0.03),
    "velocity delay 80 ms": Wanted(99.5, 0.10),
    "Crazyflie preset, hover": Wanted(error=0.005),
    "Crazyflie preset, eight, 5.5 s lap": Wanted(error=0.04, wrapped=True),
}

# The peer as measured before, by a harness of its own: survived %, mean RMSE of survivors, m. The facts' definition of
# torque/inertia could not be recovered; here it is that of the authors' source.
FACTS: dict[str, tuple[float, float | None]] = {
    "hover, random force": (97.5, 0.057),
    "hover, calm": (97.5, 0.023),
    "hover 50 s": (96.8, 0.022),
    "torque/inertia 40-100": (64.0, None),
    "eight, 10 s lap": (97.5, 0.063),
    "eight, 5.5 s lap": (97.6, 0.172),
    "sideways force 10 %": (98.1, 0.107),
    "sideways force 30 %": (97.7, 0.293),
    "velocity delay 20 ms": (96.8, 0.026),
    "velocity delay 40 ms": (91.7, 0.128),
    "velocity delay 80 ms": (26.1, 0.266),
    "Crazyflie preset, hover": (100.0, 0.053),
    "Crazyflie preset, eight, 10 s lap": (100.0, 0.086),
    "Crazyflie preset, eight, 5.5 s lap": (100.0, 0.207),
}
CHECKS = ("peer's survival off the facts", "peer's RMSE off the facts")


class Peer(Protocol):
    """The authors' wheel: ``reset()``, ``evaluate_step((n, 22)) -> (n, 4)``."""

    def reset(self) -> None:
        """Forgets."""

    def evaluate_step(self, observation: Any) -> Any:
        """One step of n vehicles."""


class OurPilot:
    """The shipped NumPy runtime, batched. ``hidden`` (N, H) is the state after the last step."""

    def __init__(self, policy: GRUPolicy):
        self._policy = policy
        self.hidden = policy.initial_hidden(0)

    def reset(self, count: int) -> None:
        """Forgets everything, for N vehicles."""
        self.hidden = self._policy.initial_hidden(count)

    def __call__(self, observation: Tensor, truth: Tensor) -> Tensor:
        """Raw actions (4, N) for observations (22, N)."""
        action, self.hidden = self._policy.step(observation.T.numpy(), self.hidden)
        return torch.from_numpy(action.T).to(observation.dtype)


class PeerPilot:
    """The peer's wheel."""

    def __init__(self, peer: Peer):
        self._peer = peer

    def reset(self, count: int) -> None:
        """Forgets everything."""
        self._peer.reset()

    def __call__(self, observation: Tensor, truth: Tensor) -> Tensor:
        """Raw actions (4, N) for observations (22, N)."""
        with np.errstate(over="ignore", invalid="ignore"):  # of vehicles that tumble
            action = self._peer.evaluate_step(np.ascontiguousarray(observation.T.numpy(), np.float32))
        return torch.from_numpy(action.T).to(observation.dtype)


@dataclass(frozen=True)
class Scores:
    """Of N flights: survived; RMSE and steady offset, m, LOST_ERROR where lost; mean change of the action per step."""

    survived: NDArray[np.bool_]
    rmse: Array
    offset: Array
    change: Array

    @classmethod
    def joined(cls, parts: Sequence[Scores]) -> Scores:
        """Of several flights."""
        return cls(*(np.concatenate([getattr(p, name) for p in parts]) for name in cls.__dataclass_fields__))


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Torch and BLAS on one thread: threads cost more than they save on products this small.

    Without threadpoolctl (extra ``dev``) BLAS keeps its own number of threads: the same figures, later.
    """
    try:
        from threadpoolctl import threadpool_limits
    except ImportError:
        threadpool_limits = contextlib.nullcontext
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1):
            yield
    finally:
        torch.set_num_threads(before)


def seeds(seed: int, quick: bool) -> list[int]:
    """Of the tests; far from those of training and validation."""
    return [7_000_000 + 3 * seed + k for k in range(1 if quick else 3)]


def airframe_count(quick: bool) -> int:
    """For each seed."""
    return 128 if quick else 1024


def scores(test: str, pilot: Pilot, count: int, test_seeds: Sequence[int], **how: Any) -> tuple[Scores, Airframes]:
    """Flies a test of the battery once per seed; ``how`` as in ``battery.fly_test``."""
    parts, flown = [], []
    with one_thread():
        for seed in test_seeds:
            flight, airframes = fly_test(test, pilot, count, seed, **how)
            survived = flight.survived.numpy()
            offset = np.where(survived, flight.offset.mean(0).norm(dim=0).numpy(), LOST_ERROR)
            parts.append(Scores(survived, flight.rmse.numpy(), offset, flight.change.mean(0).numpy()))
            flown.append(airframes)
    return Scores.joined(parts), concatenate(flown)


def measure(
    test: str, ours: Pilot, peer: Pilot, wrappers: tuple[Wrapper, Wrapper] | None, seed: int, quick: bool
) -> Findings:
    """All rows of a test: bare, each policy with its own wrapper, and the check of the harness.

    Args:
        wrappers: Of ours and of the peer; None leaves them out.
    """
    count, flown = airframe_count(quick), seeds(seed, quick)
    wanted = TARGETS.get(test, Wanted())
    bare = {name: scores(test, pilot, count, flown) for name, pilot in (("ours", ours), ("peer", peer))}
    a, b = bare["ours"][0], bare["peer"][0]
    rows = compare(test, a, b, Wanted() if wanted.wrapped else wanted)
    if wrappers is not None:
        pilots = zip((ours, peer), wrappers, strict=True)
        c, d = (scores(test, pilot, count, flown, wrapper=wrapper)[0] for pilot, wrapper in pilots)
        rows += compare(f"{test}{WRAPPED}", c, d, wanted if wanted.wrapped else Wanted())
    rows += reproduction(test, b, judged=not quick)
    details = {
        name: {"rmse_percentiles": _percentiles(s), "lost": lost(s, airframes)} for name, (s, airframes) in bare.items()
    }
    return Findings(rows, details)


def compare(test: str, ours: Scores, peer: Scores, wanted: Wanted) -> list[BenchRow]:
    """Rows of one column of ours with the peer's beside them."""
    both = ours.survived & peer.survived
    n = len(both)
    survived = [100.0 * float(s.survived.mean()) for s in (ours, peer)]
    sure = [wilson(int(s.survived.sum()), n) for s in (ours, peer)]
    target = f">= {wanted.survived:g}" if wanted.survived is not None else None
    rows = [BenchRow(test, "survived", survived[0], "%", target, survived[1], sure[0], sure[1])]
    if test.removesuffix(WRAPPED) in CHATTER:
        return rows + _chatter(test, ours, peer, both)
    kinds = [("RMSE", ours.rmse, peer.rmse)]
    if any(test.startswith(name) for name in STEADY_FORCE):
        kinds.insert(0, ("steady offset", ours.offset, peer.offset))
    for kind, (name, a, b) in enumerate(kinds):
        target = f"<= {wanted.error:g}" if wanted.error is not None and kind == 0 else None
        for who, chosen in (("where both survive", both), (f"lost ones {LOST_ERROR:g} m", np.ones(n, bool))):
            rows.append(_mean(test, f"{name}, {who}", a[chosen], b[chosen], "m", target))
        middle = [float(np.median(v[both])) if both.any() else np.nan for v in (a, b)]
        rows.append(BenchRow(test, f"{name}, median where both survive", middle[0], "m", None, middle[1]))
    return rows


def _chatter(test: str, ours: Scores, peer: Scores, both: NDArray[np.bool_]) -> list[BenchRow]:
    row = _mean(test, f"{CHANGE}, where both survive", ours.change[both], peer.change[both], "1", None)
    ratio = row.value / row.peer if row.peer else np.nan
    target = "<= 1" if test in CHATTER else None
    return [row, BenchRow(test, f"{CHANGE}, over the peer's, where both survive", ratio, "1", target)]


def _mean(test: str, metric: str, ours: Array, peer: Array, unit: str, target: str | None) -> BenchRow:
    if not len(ours):
        return BenchRow(test, metric, np.nan, unit, target)
    spans = [bootstrap(v) for v in (ours, peer)]
    return BenchRow(test, metric, float(ours.mean()), unit, target, float(peer.mean()), spans[0], spans[1])


def reproduction(test: str, peer: Scores, judged: bool) -> list[BenchRow]:
    """How far the peer is from what the facts say; a point of survival and a tenth of RMSE are allowed."""
    if test not in FACTS:
        return []
    survived, rmse = FACTS[test]
    off = abs(100.0 * float(peer.survived.mean()) - survived)
    rows = [BenchRow(test, CHECKS[0], off, "points", "<= 1" if judged else None)]
    if rmse is not None:
        here = float(peer.rmse[peer.survived].mean()) if peer.survived.any() else np.nan
        rows.append(BenchRow(test, CHECKS[1], 100.0 * abs(here / rmse - 1.0), "%", "<= 10" if judged else None))
    return rows


def wilson(successes: int, n: int) -> tuple[float, float]:
    """95 % interval of a share, %: Wilson 1927."""
    z, p = 1.959964, successes / n
    middle, half = p + z * z / (2 * n), z * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    scale = 100.0 / (1 + z * z / n)
    low = 0.0 if successes == 0 else float((middle - half) * scale)
    return low, 100.0 if successes == n else float((middle + half) * scale)


def bootstrap(values: Array) -> tuple[float, float]:
    """95 % interval of the mean over airframes, by resampling them."""
    rng = np.random.default_rng(0)
    means = [values[rng.integers(0, len(values), len(values))].mean() for _ in range(_RESAMPLES)]
    low, high = np.percentile(means, [2.5, 97.5]).tolist()
    return low, high


def lost(flown: Scores, airframes: Airframes) -> dict[str, Any]:
    """The airframes that were lost, by what decides how they fly: {count, quantity: [...]}."""
    where = np.flatnonzero(~flown.survived)[:_LISTED]
    a = airframes.airframe
    known: Mapping[str, Array] = {
        "thrust_to_weight": airframes.thrust_to_weight,
        "torque_to_inertia": airframes.torque_to_inertia,
        "mass": np.asarray(a.mass),
        "torque_constant": np.asarray(a.torque_constant[0]),
        "rise_time": np.asarray(a.rise_time[0]),
        "fall_time": np.asarray(a.fall_time[0]),
    }
    listed = {name: [float(f"{v:.4g}") for v in known[name][where]] for name in QUANTITIES}
    return {"count": int((~flown.survived).sum()), "of": len(flown.survived), **listed}


def _percentiles(flown: Scores) -> list[float]:
    if not flown.survived.any():
        return []
    return [float(f"{v:.4g}") for v in np.percentile(flown.rmse[flown.survived], PERCENTILES)]


__all__ = ["CHECKS", "FACTS", "TARGETS", "TESTS", "OurPilot", "PeerPilot", "Scores", "compare", "measure",
           "scores"]  # fmt: skip

"""The foundation policy beside the released RAPTOR: control-stack bench foundation [--quick] [--json FILE].

1,024 airframes of RAPTOR's law and 3 seeds for each test (quick: 128 and one, without the longest rows), torch on
one thread. A target holds only where both of its rows do: over the airframes that both policies survive, and over
all with each loss counted as 1 m. Eights are claimed with the wrapper, on both policies; all else bare.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from control_stack.artefacts.tables import BenchRow, Findings, number
from control_stack.errors import InvalidInput, MissingDependency
from control_stack.foundation.airframes import Airframes
from control_stack.foundation.observation import NO_LEAD, Lead, Wrapper
from control_stack.foundation.runtime import GRUPolicy
from control_stack.foundation.weights import PolicyWeights, load

LONG = ("hover 50 s", "Crazyflie preset, eight, 10 s lap")  # not in quick runs
WRAPPED_IN_QUICK = ("hover, random force", "eight, 10 s lap", "eight, 5.5 s lap")
PEER_LEAD_AIRFRAMES = 128
MC_RAPTOR = Wrapper(0.5, 1.0)  # limits that RAPTOR flies with in PX4
TEACHER_TESTS = ("hover, random force", "hover, calm", "eight, 10 s lap", "eight, 5.5 s lap", "sideways force 30 %",
                 "velocity delay 40 ms", "velocity delay 80 ms")  # fmt: skip
Group = Callable[[int, bool], "list[BenchRow] | Findings"]


def identity(weights: str | None, **others: Any) -> dict[str, Any]:
    """What tells runs with other weights apart."""
    return {"sha256": load(weights).card["sha256"]}


def groups(weights: str | None = None, teachers: str | None = None, ablation: str | None = None) -> dict[str, Group]:
    """The groups of rows. Raises a ControlStackError for whatever is missing, before anything is measured."""
    own = load(weights)
    try:
        import torch  # noqa: F401
    except ImportError:
        raise MissingDependency("torch", "learn") from None
    from benchmarks import foundation_insight as insight
    from benchmarks import foundation_table as table
    from benchmarks.policy_step import measure as step_times
    from benchmarks.policy_step import peer_policy, peer_weights
    from control_stack.foundation.training.battery import best_lead
    from control_stack.foundation.training.recipe import VALIDATION_SEED

    policy, wheel = GRUPolicy(own), peer_policy()
    ours, peer = table.OurPilot(policy), table.PeerPilot(wheel)
    released = peer_weights(wheel)

    @cache
    def peer_lead() -> Lead:
        """The one that suits the peer, found as ours was: neither is judged at a lead that suits the other."""
        with table.one_thread():
            return best_lead(peer, PEER_LEAD_AIRFRAMES, VALIDATION_SEED, MC_RAPTOR)

    found: dict[str, Group] = {}
    for test in table.TESTS:
        found[test] = partial(_test, test, ours, peer, own.lead, peer_lead)
    found["one at a time"] = partial(_variants, ours, peer)
    found["lead"] = partial(_leads, ours, peer, own.lead, peer_lead)
    found["step"] = lambda seed, quick: step_times(seed, quick, weights)
    found["PyBullet"] = partial(_bullet, own, released, peer_lead)
    found["probes"] = partial(insight.probes, {"ours": policy, "peer": GRUPolicy(released)})
    if teachers is not None:
        stacks = read_teachers(teachers)
        found["teachers"] = partial(_teachers, stacks, ours, peer)
        found["ways"] = partial(insight.ways, insight.trained(teachers))
    if ablation is not None:
        found["ablation"] = partial(insight.ablation, insight.students(ablation))
    return found


def _test(
    test: str, ours: Any, peer: Any, lead: Lead, peer_lead: Callable[[], Lead], seed: int, quick: bool
) -> Findings:
    from benchmarks import foundation_table as table

    if quick and test in LONG:
        return Findings([], {})
    wrapped = test in WRAPPED_IN_QUICK if quick else not test.startswith("wide law")
    wrappers = None
    if wrapped:
        # A lead changes nothing where the setpoint stands still.
        own, its = (lead, peer_lead()) if "eight" in test else (NO_LEAD, NO_LEAD)
        wrappers = (Wrapper(lead=own), replace(MC_RAPTOR, lead=its))
    return table.measure(test, ours, peer, wrappers, seed, quick)


def _variants(ours: Any, peer: Any, seed: int, quick: bool) -> list[BenchRow]:
    """Differences of a deployment, without targets: PX4's limited feedback, rotors that start at any speed."""
    from benchmarks import foundation_table as table

    rows: list[BenchRow] = []
    count, flown = table.airframe_count(quick), table.seeds(seed, quick)
    for name, how, tests in (
        ("previous action limited", {"clamped_feedback": True}, ("hover, random force", "eight, 5.5 s lap")),
        ("rotors at any speed", {"any_rotors": True}, ("hover, random force", "torque/inertia 40-100")),
    ):
        for test in tests[: 1 if quick else None]:
            a, b = (table.scores(test, pilot, count, flown, **how)[0] for pilot in (ours, peer))
            rows += table.compare(f"{test}, {name}", a, b, table.Wanted())
    return rows


def _leads(ours: Any, peer: Any, lead: Lead, peer_lead: Callable[[], Lead], seed: int, quick: bool) -> list[BenchRow]:
    """What the lead in the wrapper is worth on the fast eight: none, the one that suits ours, and the peer's."""
    from benchmarks import foundation_table as table

    rows = []
    for whose, chosen in (("none", NO_LEAD), ("ours", lead), ("the peer's", peer_lead())):
        a, b = (
            table.scores("eight, 5.5 s lap", pilot, 128, table.seeds(seed, True), wrapper=replace(limits, lead=chosen))[
                0
            ]
            for pilot, limits in ((ours, Wrapper()), (peer, MC_RAPTOR))
        )
        both = a.survived & b.survived
        means = [float(s.rmse[both].mean()) if both.any() else np.nan for s in (a, b)]
        numbers = "{:g} s, {:g} s^2, {:g} s^3 in position, {:g} s in velocity".format(*chosen)
        test = f"eight, 5.5 s lap, lead {numbers} ({whose})"
        rows.append(BenchRow(test, "RMSE, where both survive", means[0], "m", None, means[1]))
    return rows


def _bullet(
    own: PolicyWeights, released: PolicyWeights, peer_lead: Callable[[], Lead], seed: int, quick: bool
) -> list[BenchRow]:
    from benchmarks import foundation_flights as flights
    from controllers.foundation import FoundationController
    from controllers.geometric import GeometricController

    led = PolicyWeights(released.tensors, {**released.card, "lead": peer_lead()._asdict()})
    ours, peer = (flights.at_rotors(FoundationController.flying(weights)) for weights in (own, led))
    return flights.measure(ours, peer, flights.at_rotors(GeometricController), seed, quick)


def read_teachers(folder: str | Path) -> list[tuple[Airframes, dict[str, Any]]]:
    """The stacks of teachers that a training left, teachers_0.safetensors and so on, with their airframes.

    Raises:
        InvalidInput: There is none, or one is not such a file.
    """
    from safetensors import SafetensorError

    from control_stack.foundation.training.recipe import load_teachers

    stacks = []
    for file in sorted(Path(folder).glob("teachers_*.safetensors")):
        try:
            stacks.append(load_teachers(file))
        except KeyError as error:
            raise InvalidInput(f"--teachers {folder}: {file.name} has no {error}") from None
        except (SafetensorError, IndexError, OSError) as error:
            reason = str(error).splitlines()[0]
            raise InvalidInput(f"--teachers {folder}: {file.name} holds no teachers: {reason}") from None
    if not stacks:
        raise InvalidInput(f"--teachers {folder}: there are no files teachers_0.safetensors, teachers_1.safetensors...")
    return stacks


def _teachers(stacks: Any, ours: Any, peer: Any, seed: int, quick: bool) -> list[BenchRow]:
    """Teachers, and both policies, on the teachers' own airframes: the ceiling. Teachers see the undelayed truth."""
    from benchmarks import foundation_table as table
    from control_stack.foundation.training.evaluation import NetworkPilot
    from control_stack.foundation.training.teachers import Teachers

    rows = []
    for test in TEACHER_TESTS[: 4 if quick else None]:
        flown: Mapping[str, list[table.Scores]] = {"teachers": [], "ours": [], "peer": []}
        for airframes, weights in stacks:
            n = len(airframes)
            stack = NetworkPilot(Teachers(n, weights["0.weight"].shape[1]), weights, privileged=True)
            for name, pilot in (("teachers", stack), ("ours", ours), ("peer", peer)):
                reached, _ = table.scores(test, pilot, n, table.seeds(seed, quick), airframes=airframes)
                flown[name].append(reached)
        for name, parts in flown.items():
            reached = table.Scores.joined(parts)
            where = f"teachers' airframes, {test}"
            share, n = float(reached.survived.mean()), len(reached.survived)
            sure = table.wilson(int(reached.survived.sum()), n)
            rows.append(BenchRow(where, f"{name}: survived", 100.0 * share, "%", interval=sure))
            mean, sure = float(reached.rmse.mean()), table.bootstrap(reached.rmse)
            rows.append(BenchRow(where, f"{name}: RMSE, lost ones 1 m", mean, "m", interval=sure))
    return rows


def finish(report: Mapping[str, Any], target: Path | None) -> None:
    """Says whether the harness reproduces the peer, and draws the pictures beside the report."""
    from benchmarks.foundation_picture import draw, draw_insight

    print(reproduced(report))
    if target is not None:
        pictures = [draw(report, target.with_suffix(".png"))]
        pictures += draw_insight(report, target.with_name(f"{target.stem}_insight.png"))
        print(f"pictures: {', '.join(str(p) for p in pictures)}")


def reproduced(report: Mapping[str, Any]) -> str:
    """One paragraph: which of the peer's figures this harness reproduces, and which it does not."""
    from benchmarks.foundation_table import CHECKS

    rows = [row for row in report["rows"] if row["metric"] in CHECKS]
    judged = [row for row in rows if row["holds"] is not None]
    if not judged:
        return "Whether the harness reproduces the peer's figures takes the full run: these are too few airframes."
    missed = [row for row in judged if not row["holds"]]
    text = f"The harness reproduces {len(judged) - len(missed)} of {len(judged)} figures of the peer"
    if not missed:
        return text + "."
    listed = (f"{r['test']} ({r['metric']}: {number(r['value'])} {r['unit']}, allowed {r['target']})" for r in missed)
    return f"{text}; not: {'; '.join(listed)}."

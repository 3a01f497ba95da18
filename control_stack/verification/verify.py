"""A policy or a model on a box, as a report for machines: what ``control-stack verify`` prints and a node may ask for.

A report is plain data: {"kind", "file", "sha256", "channels", "outputs", "local_gamma", "invariant", ...}, SI units.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from control_stack.bounds import Box, Network, gru_policy
from control_stack.errors import InvalidInput
from control_stack.foundation.observation import OBSERVATION, OBSERVATION_SIZE
from control_stack.foundation.weights import MOTOR_ORDER, PolicyWeights
from control_stack.foundation.weights import load as load_policy
from control_stack.learning.lipschitz.dynamics import LipschitzDynamics
from control_stack.verification.box_file import box_of, matrix, pair, vector
from control_stack.verification.invariance import Claim, Verdict, invariance
from control_stack.verification.ranges import Ranges, ranges

_SET_KEYS = ("shape", "matrix", "half_width", "center", "feedback", "input", "disturbance")
BOXES = 512


def observation_names(hidden: int) -> tuple[str, ...]:
    """Channels of the recurrent policy: 22 observations, then its hidden state."""
    observed = [f"{name}.{k} [{unit}]" for name, size, unit, _ in OBSERVATION for k in range(size)]
    return (*observed, *(f"hidden.{k} [1]" for k in range(hidden)))


def verify_policy(
    path: str | Path | PolicyWeights | None, asked: Mapping[str, Any], boxes: int = BOXES
) -> dict[str, Any]:  # fmt: skip
    """Range of the raw action (before it is limited to [-1, 1]) and gains of the recurrent policy.

    Args:
        path: Weights, or where they lie; None for those that are shipped.
        asked: A box of 22 observations (``box_file``). The hidden state is any in [-1, 1], or as far out
            as the policy starts, unless channels name it: h' = (1 - z) n + z h with |n| < 1, 0 < z < 1 stays there.
        boxes: Parts that the box may be cut into.

    Raises:
        InvalidInput: The box has other channels, or the weights cannot be used.
    """
    if "invariant" in asked:
        raise InvalidInput("a policy alone has no invariant set: verify the model of its closed loop")
    weights = path if isinstance(path, PolicyWeights) else load_policy(path)
    names = observation_names(weights.hidden_size)
    first = [float(h) for h in weights["gru.initial_hidden"]]
    hidden = {name: (min(-1.0, h), max(1.0, h)) for name, h in zip(names[OBSERVATION_SIZE:], first, strict=True)}
    box = box_of(asked, names, hidden)
    found = ranges(_actions(gru_policy(weights.tensors)), box, boxes)
    outputs = [f"raw action of rotor {motor} [1]" for motor in MOTOR_ORDER]
    report = _report("policy", _place(path), weights.card, box, names, found, outputs)
    within = (found.lower >= -1.0) & (found.upper <= 1.0)
    report["never_limited"] = within.tolist()
    report["gain_to_observation"] = _norm(found.gain[:, :OBSERVATION_SIZE])
    report |= _within(asked, report["outputs"])
    report["proved"] = all(claim["proved"] for claim in report["within"].values())
    return report


def verify_model(path: str | Path | LipschitzDynamics, asked: Mapping[str, Any], boxes: int = BOXES) -> dict[str, Any]:
    """Range of the next state, slopes, the local constant of the residual, and invariance where a set is given.

    Args:
        path: The model, or where it lies; its proof is checked again.
        asked: A box over states, inputs and parameters (parameters default to the model's), or a set, or both.
        boxes: Parts that the box may be cut into.

    Raises:
        InvalidInput: The box or set does not fit, or the model cannot be used.
    """
    model = path if isinstance(path, LipschitzDynamics) else LipschitzDynamics.load(path)
    spec = model.spec
    names = (*spec.state, *spec.inputs, *spec.parameters)
    defaults = {name: (float(v), float(v)) for name, v in zip(spec.parameters, spec.defaults, strict=True)}
    box = box_of(asked, names, defaults) if set(asked) - {"invariant", "within"} else None
    if box is None and "within" in asked:
        raise InvalidInput("'within' is a claim about a box: give 'box', or 'lower' and 'upper'")
    if box is None and "invariant" not in asked:
        raise InvalidInput("nothing to verify: give 'box', or 'lower' and 'upper', or 'invariant'")
    report: dict[str, Any] = {"kind": "model", "file": _place(path), "sha256": model.card["sha256"], "proved": True}
    report["certificate"] = dict(model.card["certificate"])
    if box is not None:
        found = ranges(model.to_network(), box, boxes)
        outputs = [f"next {name}" for name in spec.state]
        report |= _report("model", _place(path), model.card, box, names, found, outputs)
        report |= _within(asked, report["outputs"])
        report["proved"] = all(claim["proved"] for claim in report["within"].values())
        report["local_gamma"] = model.network.local_gamma(box, boxes)
    if "invariant" in asked:
        claim = _claim(model, asked["invariant"], box)
        verdict = invariance(model, claim, 4 * boxes)
        report["invariant"] = _verdict(verdict, claim)
        report["proved"] = report["proved"] and verdict.status == "proved"
    return report


def _place(path: str | Path | PolicyWeights | LipschitzDynamics | None) -> str:
    """What the report calls it."""
    if path is None:
        return "shipped"
    return str(path) if isinstance(path, str | Path) else "in memory"


def _within(asked: Mapping[str, Any], outputs: list[dict[str, Any]]) -> dict[str, Any]:
    """Of each output that was asked about the sides, and whether its range is proved to lie between them."""
    given = asked.get("within", {})
    if not isinstance(given, dict):
        raise InvalidInput("'within' is an object of outputs, each with [low, high]")
    ranges_of = {output["name"]: output for output in outputs}
    claims = {}
    for name, sides in given.items():
        if name not in ranges_of:
            raise InvalidInput(f"'within' names '{name}'; the outputs are {', '.join(ranges_of)}")
        low, high = pair(sides, name)
        found = ranges_of[name]
        claims[name] = {"lower": low, "upper": high, "proved": low <= found["lower"] and found["upper"] <= high}
    return {"within": claims}


def _actions(network: Network) -> Network:
    """The policy's network without the hidden state that it also puts out."""
    return Network(network.nodes[-1].parents[0])


def _claim(model: LipschitzDynamics, given: Any, box: Box | None) -> Claim:
    if not isinstance(given, dict):
        raise InvalidInput("'invariant' is an object that describes a set")
    for key in given:
        if key not in _SET_KEYS:
            raise InvalidInput(f"invariant set: unknown key '{key}'; expected one of: {', '.join(_SET_KEYS)}")
    nx, nu = model.nx, model.nu
    shape = given.get("shape", "box")
    if shape not in ("box", "ellipsoid"):
        raise InvalidInput(f"invariant set: shape '{shape}'; expected box or ellipsoid")
    if ("matrix" in given) == ("half_width" in given):
        raise InvalidInput(
            "invariant set: give either 'matrix' (columns from the centre) or 'half_width' (a state each)"
        )
    if "matrix" in given:
        generators = matrix(given["matrix"], "invariant set: matrix")
    else:
        generators = np.diag(vector(given["half_width"], "invariant set: half_width"))
    feedback = matrix(given["feedback"], "invariant set: feedback") if "feedback" in given else np.zeros((nu, nx))

    def numbers(key: str, size: int) -> np.ndarray:
        return vector(given[key], f"invariant set: {key}") if key in given else np.zeros(size)

    defaults = model.spec.defaults
    parameters = None if not len(defaults) else Box(defaults, defaults)
    inputs = None
    if box is not None:
        parameters = parameters and Box(box.lower[nx + nu :], box.upper[nx + nu :])
        inputs = np.stack([box.lower[nx : nx + nu], box.upper[nx : nx + nu]])
    return Claim(
        shape, generators, numbers("center", nx), feedback, numbers("input", nu), numbers("disturbance", nx),
        parameters, inputs,
    )  # fmt: skip


def _verdict(verdict: Verdict, claim: Claim) -> dict[str, Any]:
    counter = verdict.counterexample
    return {
        "status": verdict.status,
        "method": verdict.method,
        "shape": claim.shape,
        "reach": verdict.reach,
        "seen": verdict.seen,
        "counterexample": None if counter is None else counter.tolist(),
        "inputs": {"lower": verdict.inputs[0].tolist(), "upper": verdict.inputs[1].tolist()},
        "matrix": claim.generators.tolist(),
        "center": claim.center.tolist(),
        "feedback": claim.feedback.tolist(),
        "disturbance": claim.disturbance.tolist(),
    }


def _report(
    kind: str, file: str, card: Mapping[str, Any], box: Box, names: tuple[str, ...], found: Ranges, outputs: list[str]
) -> dict[str, Any]:  # fmt: skip
    return {
        "kind": kind,
        "file": file,
        "sha256": card["sha256"],
        "channels": [
            {"name": name, "lower": float(low), "upper": float(high)}
            for name, low, high in zip(names, box.lower, box.upper, strict=True)
        ],
        "outputs": [
            {
                "name": name,
                "lower": float(found.lower[k]),
                "upper": float(found.upper[k]),
                "seen_lower": float(found.seen_lower[k]),
                "seen_upper": float(found.seen_upper[k]),
                "interval_lower": float(found.interval_lower[k]),
                "interval_upper": float(found.interval_upper[k]),
                "gain": found.gain[k].tolist(),
            }
            for k, name in enumerate(outputs)
        ],
        "assumes": "exact arithmetic with the stored weights; docs/lipschitz.md says what that leaves out",
    }


def _norm(gain: np.ndarray) -> float:
    """Largest singular value of the matrix of bounds: above that of every Jacobian within them."""
    value = float(np.linalg.norm(gain, 2)) * (1.0 + 1e-12)
    return value if math.isfinite(value) else math.inf

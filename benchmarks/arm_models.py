"""The learned models that ``bench arm`` is given: who they are, what their fits reached, torch beside CasADi."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.arm_runs import RIVALS, Contender
from control_stack.artefacts.tables import BenchRow
from control_stack.artefacts.tensors import read_card
from control_stack.errors import InvalidInput, MissingDependency
from control_stack.learning.lagrangian import load, model_file
from control_stack.learning.lagrangian.structures import BLACK_BOXES
from control_stack.learning.shipped import black_box_models, lagrangian_models
from control_stack.types import Array
from controllers.arm.factory import tuned_file

LEARNED = "learned"
SEEDS = 3  # of training that the issue asks for
_BLACK_BOX = {"mlp": "black-box MLP", "mlp-rates": "black-box MLP of rates"}
_POINTS, _PARITY = 20, "<= 1e-6"


def chosen(models: Sequence[str] | None) -> list[str]:
    """Files or folders of the models. None: those that ship. Raises InvalidInput for one that is not there."""
    if models is None:
        return [str(path) for path in (*lagrangian_models(), *black_box_models())]
    for path in models:
        if not model_file(path).is_file():
            raise InvalidInput(f"--models {path}: no such file, and no folder of a fit")
    return [str(path) for path in models]


def identity(models: Sequence[str] | None) -> dict[str, Any]:
    """What tells runs with other weights or settings apart."""
    files = [model_file(path) for path in chosen(models)] + [tuned_file()]
    return {"sha256": [hashlib.sha256(file.read_bytes()).hexdigest() for file in files]}


def label_of(path: str) -> str:
    """What a model is called: all that differ in their seed alone are called the same."""
    structure, context = _made(path)
    if structure in BLACK_BOXES:
        return _BLACK_BOX[structure]
    return LEARNED if (structure, context) == ("flange", "filter") else f"{LEARNED} {structure}, context by {context}"


def is_ablation(label: str) -> bool:
    """Whether it is a part of the learned model's, not a rival."""
    return label.startswith(f"{LEARNED} ")


def contenders(models: Sequence[str]) -> list[Contender]:
    """The rivals, and one for every model but those whose structure is compared by its fit alone."""
    flown = sorted((path for path in models if _made(path)[0] in ("flange", *BLACK_BOXES)), key=label_of)
    return [*RIVALS, *(Contender(label_of(path), model=path, told=_made(path)[1] == "oracle") for path in flown)]


def friction_title(models: Sequence[str], factor: float) -> str:
    """Of runs with scaled friction: by how much, and what learned models have been trained on."""
    data = (read_card(model_file(p))["training"]["data"] for p in models if label_of(p) == LEARNED)
    seen = next((d["friction_factors"] for d in data if d.get("friction_factors")), None)
    return f"friction x {factor:g}" + ("" if seen is None else f" (trained on {seen[0]:g} to {seen[1]:g})")


def presence(models: Sequence[str]) -> list[BenchRow]:
    """How many models there are of what the comparison needs; says in a line what is missing."""
    labels = [label_of(path) for path in models]
    seeds = len({read_card(model_file(p))["training"]["seed"] for p in models if label_of(p) == LEARNED})
    boxes = sum(label in _BLACK_BOX.values() for label in labels)
    if seeds < SEEDS or not boxes:
        print(f"warning: {seeds} of {SEEDS} seeds of training and {boxes} black boxes: fit more", file=sys.stderr)
    return [
        BenchRow("models", "seeds of training", float(seeds), "1", f">= {SEEDS}"),
        BenchRow("models", "black boxes", float(boxes), "1", ">= 1"),
    ]


def fit_rows(models: Sequence[str]) -> list[BenchRow]:
    """Errors on episodes that a fit held out, from the models' cards; peer: the nominal arm's on the same."""
    rows = []
    for path in models:
        card = read_card(model_file(path))
        found, test = card["figures"]["test"], f"fit, {label_of(path)}, seed {card['training']['seed']}"
        for metric, key, unit in (
            ("torques, share of the unexplained", "torque_share", "1"),
            ("mass matrix, share", "mass_share", "1"),
            ("accelerations, RMS error", "qdd_rmse", "rad/s^2"),
        ):
            if key in found["model"]:
                rows.append(BenchRow(test, metric, found["model"][key], unit, peer=found["nominal"][key]))
    return rows


def parity_rows(models: Sequence[str], seed: int) -> list[BenchRow]:
    """Inverse dynamics in torch beside CasADi, both in float64, for the first model of every label."""
    rows = []
    for label, path in {label_of(path): path for path in reversed(models)}.items():
        try:
            value, slope = parity(path, seed)
        except MissingDependency as error:
            print(f"no rows of torch beside CasADi: {error}", file=sys.stderr)
            return []
        test = f"torch beside CasADi, {label}"
        rows.append(BenchRow(test, "value, largest relative difference", value, "1", _PARITY))
        rows.append(BenchRow(test, "Jacobian, largest relative difference", slope, "1", _PARITY))
    return rows


def parity(path: str, seed: int) -> tuple[float, float]:
    """Largest differences of tau and of its Jacobians by q, q', q'' and z at random points, over their largest entry.

    Raises MissingDependency without torch.
    """
    try:
        import torch
    except ImportError:
        raise MissingDependency("torch", "learn") from None
    import casadi as ca

    model, rng = load(path), np.random.default_rng(seed)
    function, n = model.inverse_casadi(), model.arm.joints
    symbols = [ca.MX.sym(name, function.numel_in(k)) for k, name in enumerate(("q", "qd", "qdd", "p"))]
    jacobian = ca.Function("jacobian", symbols, [ca.jacobian(function(*symbols), s) for s in symbols])
    value = slope = 0.0
    for _ in range(_POINTS):
        point = [rng.standard_normal(size) for size in (n, n, n, model.contexts)]
        tensors = tuple(torch.tensor(a, dtype=torch.float64) for a in point)
        value = max(value, _apart(np.asarray(function(*point)).ravel(), model.inverse(*tensors).numpy()))
        theirs = torch.autograd.functional.jacobian(lambda *a: model.inverse(*a), tensors)
        slope = max(slope, *(_apart(np.asarray(m), t.numpy()) for m, t in zip(jacobian(*point), theirs, strict=True)))
    return value, slope


def _apart(mine: Array, theirs: Array) -> float:
    return float(np.abs(mine - theirs).max() / max(np.abs(theirs).max(), 1e-12))


def _made(path: str) -> tuple[str, str]:
    """Structure and where the context comes from."""
    card = read_card(model_file(path))
    return card["structure"], card["training"]["recipe"]["context"]

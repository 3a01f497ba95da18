"""A quadrotor's learned residual on disk: safetensors, and the card that says for which vehicle and level it holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from control_stack.artefacts import tensors as artefact
from control_stack.artefacts.runs import plain
from control_stack.errors import InvalidInput
from control_stack.quadrotor.long_step import LongStepQuadrotor
from control_stack.quadrotor.parameters import QuadrotorParameters
from control_stack.quadrotor.residual import SEEN, ResidualQuadrotor, TanhNetwork
from control_stack.types import Array, CommandLevel

FORMAT = "control_stack quadrotor residual 1"
FILE = "model.safetensors"
_WHAT = "weights of a residual"
_OUTPUTS = [f"acceleration_b.{axis} [m/s^2]" for axis in "xyz"]
_VECTORS = {"mean": len(SEEN), "scale": len(SEEN), "scale_out": len(_OUTPUTS)}


def save_residual(
    path: str | Path,
    network: TanhNetwork,
    parameters: QuadrotorParameters,
    level: CommandLevel,
    *,
    logs: Sequence[Mapping[str, Any]],
    training: Mapping[str, Any],
    figures: Mapping[str, Any],
) -> dict[str, Any]:
    """Writes ``path`` (.safetensors) and its card; returns the card.

    Args:
        logs: What is known of each, winds included. training: command, seed, git_revision, wall_time_s, hardware.
        figures: Held-out errors.
    """
    contract = {
        **_contract(parameters, level),
        "airframe": parameters.flatten().tolist(),
        "layers": [len(SEEN), *(len(bias) for bias in network.biases)],
        "logs": plain(list(logs)),
    }
    stored = {name: np.asarray(getattr(network, name), dtype=float) for name in _VECTORS}
    for k, (weight, bias) in enumerate(zip(network.weights, network.biases, strict=True)):
        stored |= {f"weight.{k}": weight, f"bias.{k}": bias}
    return artefact.write_model(path, stored, contract, training, figures, _WHAT)


def fitted_level(path: str | Path) -> CommandLevel:
    """The command level that a model was fitted at. Raises InvalidInput where its card does not tell."""
    file = _file(path)
    level = artefact.read_card(file).get("level")
    for known in (CommandLevel.ROTORS, CommandLevel.CTBR):
        if level == known.value:
            return known
    raise InvalidInput(f"{file.with_suffix('.json')}: not the card of a residual: level is {level!r}")


def load_residual(
    path: str | Path, parameters: QuadrotorParameters, level: CommandLevel, dt: float
) -> ResidualQuadrotor:
    """The model of a vehicle at a level, in steps of dt seconds.

    Args:
        path: The .safetensors file, or the folder of ``control-stack fit residual``.

    Raises:
        InvalidInput: A file is missing, damaged or not what its card says; the card names another vehicle or level, or
            the vehicle's file has changed since.
    """
    file = _file(path)
    place = file.with_suffix(".json")
    stored, card = artefact.read(file, _WHAT)
    for key, expected in _contract(parameters, level).items():
        if card.get(key) != expected:
            raise InvalidInput(f"{place}: {key} is {card.get(key)!r}, this flight needs {expected!r}")
    airframe, now = np.asarray(card.get("airframe"), dtype=float), parameters.flatten()
    if airframe.shape != now.shape or not np.allclose(airframe, now, rtol=1e-9, atol=1e-12):
        raise InvalidInput(f"{place}: the file of vehicle '{parameters.name}' has changed since: fit again")
    return ResidualQuadrotor(LongStepQuadrotor(parameters, level, dt), _network(stored, place))


def _file(path: str | Path) -> Path:
    file = Path(path)
    return file if file.suffix == ".safetensors" else file / FILE


def _contract(parameters: QuadrotorParameters, level: CommandLevel) -> dict[str, Any]:
    """The part of a card that flying relies on."""
    return {
        "format": FORMAT,
        "vehicle": parameters.name,
        "level": level.value,
        "features": list(SEEN),
        "outputs": _OUTPUTS,
    }


def _network(stored: dict[str, Array], place: Path) -> TanhNetwork:
    count = sum(name.startswith("weight.") for name in stored)
    names = {*_VECTORS, *(f"{kind}.{k}" for k in range(count) for kind in ("weight", "bias"))}
    if set(stored) != names or not count:
        raise InvalidInput(f"{place}: tensors {', '.join(sorted(stored))} are not those of a residual")
    for name, size in _VECTORS.items():
        if stored[name].shape != (size,):
            raise InvalidInput(f"{place}: '{name}' has shape {stored[name].shape}, expected {(size,)}")
    width = len(SEEN)
    for k in range(count):
        weight, bias = stored[f"weight.{k}"], stored[f"bias.{k}"]
        if weight.ndim != 2 or weight.shape[1] != width or bias.shape != weight.shape[:1]:
            raise InvalidInput(f"{place}: layer {k} has weights {weight.shape} and biases {bias.shape}")
        width = len(bias)
    if width != len(_OUTPUTS) or not all(np.isfinite(value).all() for value in stored.values()):
        raise InvalidInput(f"{place}: the last layer needs {len(_OUTPUTS)} outputs, and all numbers must be finite")
    layers = range(count)
    return TanhNetwork(
        tuple(stored[f"weight.{k}"] for k in layers),
        tuple(stored[f"bias.{k}"] for k in layers),
        **{name: stored[name] for name in _VECTORS},
    )

"""The policy as an artefact: a safetensors file of nine tensors and the JSON card that says what they mean.

The card lies beside the weights under the same name (``foundation.safetensors``, ``foundation.json``).
Whatever the runtime relies on stands in the card and is checked against this code, so that weights of another
network, another observation or another rate are refused with the reason instead of being flown.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from control_stack.artefacts import tensors as artefact
from control_stack.errors import InvalidInput
from control_stack.foundation.observation import (
    ACTION_SIZE,
    LONGEST_LEAD,
    NO_LEAD,
    OBSERVATION,
    OBSERVATION_SIZE,
    Lead,
)

Tensor = NDArray[np.float32]

FORMAT = "control-stack recurrent policy, 1"
RATE_HZ = 100.0
MOTOR_ORDER = ("FR", "BR", "BL", "FL")
YAW_TORQUE_SIGNS = (-1, 1, -1, 1)  # of the reaction on the body about +z, in the motor order
ACTION = "rotor speed as a part of its maximum is (a + 1) / 2, limited to 0..1; the output itself is not squashed"
HIDDEN_SIZES = range(8, 65)
_WHAT = "policy weights"


@dataclass(frozen=True)
class PolicyWeights:
    """Tensors by name, float32, and their card.

    Dense ReLU, GRU and linear output:

        a = relu(W_i x + b_i)
        r, z = sigmoid(W_ih a + b_ih + W_hh h + b_hh)            rows of both matrices in the order r, z, n
        n = tanh(W_in a + b_in + r * (W_hn h + b_hn))
        h' = (1 - z) n + z h,   action = W_o h' + b_o            (torch.nn.GRUCell's convention)
    """

    tensors: Mapping[str, Tensor]
    card: Mapping[str, Any]

    def __getitem__(self, name: str) -> Tensor:
        return self.tensors[name]

    @property
    def hidden_size(self) -> int:
        """Width of the dense layer and of the GRU."""
        return int(self["gru.initial_hidden"].shape[0])

    @property
    def count(self) -> int:
        """Numbers in all tensors; 2,084 at width 16."""
        return sum(tensor.size for tensor in self.tensors.values())

    @property
    def lead(self) -> Lead:
        """Of the reference, with which these weights follow it most precisely."""
        return Lead(**self.card["lead"])


def shapes(hidden: int) -> dict[str, tuple[int, ...]]:
    """Tensor names and shapes of a policy of this width."""
    return {
        "input.weight": (hidden, OBSERVATION_SIZE),
        "input.bias": (hidden,),
        "gru.weight_ih": (3 * hidden, hidden),
        "gru.weight_hh": (3 * hidden, hidden),
        "gru.bias_ih": (3 * hidden,),
        "gru.bias_hh": (3 * hidden,),
        "gru.initial_hidden": (hidden,),
        "output.weight": (ACTION_SIZE, hidden),
        "output.bias": (ACTION_SIZE,),
    }


def contract(hidden: int) -> dict[str, Any]:
    """The part of a card that the runtime relies on."""
    return {
        "format": FORMAT,
        "architecture": {
            "layers": f"dense {OBSERVATION_SIZE}-{hidden} relu, gru {hidden}, dense {hidden}-{ACTION_SIZE}",
            "hidden": hidden,
            "gates": "r, z, n; n = tanh(W_in a + b_in + r * (W_hn h + b_hn)); h' = (1 - z) n + z h",
            "parameters": sum(math.prod(shape) for shape in shapes(hidden).values()),
            "dtype": "float32",
        },
        "observation": [dict(zip(("name", "size", "unit", "frame"), row, strict=True)) for row in OBSERVATION],
        "action": ACTION,
        "motor_order": list(MOTOR_ORDER),
        "yaw_torque_signs": list(YAW_TORQUE_SIGNS),
        "rate_hz": RATE_HZ,
    }


def save(
    path: str | Path,
    tensors: Mapping[str, Any],
    *,
    lead: Lead = NO_LEAD,
    training: Mapping[str, Any],
    figures: Mapping[str, Any],
) -> PolicyWeights:
    """Writes ``path`` (.safetensors) and its card.

    Args:
        path: Of the weights.
        tensors: By the names of ``shapes``; anything that NumPy can read, stored as float32.
        lead: With which they follow a moving reference most precisely.
        training: command, seed, git_revision, wall_time_s, hardware.
        figures: What was measured with these weights.
    """
    arrays = {name: np.ascontiguousarray(value, dtype=np.float32) for name, value in tensors.items()}
    artefact.check_training(path, training)
    file = artefact.weights_path(path, _WHAT)
    hidden = _check_tensors(arrays, file)
    card = {**contract(hidden), "lead": lead._asdict(), "training": dict(training), "figures": dict(figures)}
    _check_card(card, hidden, file.with_suffix(".json"))
    return PolicyWeights(arrays, artefact.write(file, arrays, card, _WHAT))


def shipped_path() -> Path:
    """Where the weights that come with the package lie, or would lie."""
    return Path(__file__).parent / "data" / "foundation.safetensors"


def load(path: str | Path | None = None) -> PolicyWeights:
    """Reads weights and card; the shipped ones without a path.

    Raises:
        InvalidInput: A file is missing, truncated or not what its card says, or the card names another
            architecture, observation, action, motor order or rate.
    """
    if path is None and not shipped_path().is_file():
        raise InvalidInput("no weights come with this build: run 'control-stack train foundation' or name a file")
    file = artefact.weights_path(shipped_path() if path is None else path, _WHAT)
    tensors, sha256 = artefact.read_tensors(file, _WHAT)
    hidden = _check_tensors(tensors, file)
    card = artefact.read_card(file)
    _check_card(card, hidden, file.with_suffix(".json"))
    artefact.check_signature(file, card, sha256)
    return PolicyWeights(tensors, card)


def _check_tensors(tensors: Mapping[str, Any], file: Path) -> int:
    """The hidden width; refuses tensors of another network, other types and values that are not finite."""
    names = shapes(16)
    if set(tensors) != set(names):
        odd = sorted(set(tensors) ^ set(names))[0]
        state = "lacks" if odd in names else "has an unknown"
        raise InvalidInput(f"{file}: another architecture: it {state} tensor '{odd}'")
    initial = tensors["gru.initial_hidden"].shape
    hidden = initial[0] if len(initial) == 1 else 0
    if hidden not in HIDDEN_SIZES:
        raise InvalidInput(f"{file}: another architecture: hidden width {initial}, expected 8 to 64")
    for name, shape in shapes(hidden).items():
        tensor = tensors[name]
        if tensor.shape != shape:
            raise InvalidInput(f"{file}: another architecture: '{name}' has shape {tensor.shape}, expected {shape}")
        if tensor.dtype != np.float32:
            raise InvalidInput(f"{file}: '{name}' holds {tensor.dtype}, expected float32")
        if not np.isfinite(tensor).all():
            raise InvalidInput(f"{file}: '{name}' is not finite")
    return hidden


def _check_card(card: Mapping[str, Any], hidden: int, file: Path) -> None:
    for key, expected in contract(hidden).items():
        if key not in card:
            raise InvalidInput(f"{file}: the card does not name its {key.replace('_', ' ')}")
        if card[key] != expected:
            raise InvalidInput(f"{file}: {key} {_difference(card[key], expected)}")
    lead = card.get("lead")
    numbers = isinstance(lead, dict) and set(lead) == set(Lead._fields) and all(map(_is_lead, lead.values()))
    if not numbers:
        raise InvalidInput(f"{file}: lead must give {', '.join(Lead._fields)}, within +-{LONGEST_LEAD:g}, got {lead!r}")


def _is_lead(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= LONGEST_LEAD


def _difference(found: Any, expected: Any) -> str:
    """The first place where the two differ, short enough for one line."""
    if isinstance(found, dict) and isinstance(expected, dict):
        for key in [*expected, *(key for key in found if key not in expected)]:
            if found.get(key) != expected.get(key):
                return f"{key} {_difference(found.get(key), expected.get(key))}"
    if isinstance(found, list) and isinstance(expected, list) and len(found) == len(expected):
        for i, (a, b) in enumerate(zip(found, expected, strict=True)):
            if a != b:
                return f"entry {i} {_difference(a, b)}"
    return f"is {_short(found)}, this code flies {_short(expected)}"


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 100 else text[:97] + "..."

"""Data sets for learning: episodes of states and inputs at one sample time, as a safetensors file with its card.

The card lies beside the data under the same name (``data.safetensors``, ``data.json``). What would spoil a
training without a word (NaN, columns that never change, mixed sample times) is refused when data is read.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from control_stack.artefacts import tensors as artefact
from control_stack.artefacts.runs import plain
from control_stack.errors import InvalidInput
from control_stack.learning.spec import TaskSpec, spec_from_card
from control_stack.protocols import DynamicsSpec
from control_stack.types import Array

FORMAT = "control-stack episodes, 1"
FILE = "data.safetensors"  # in the folder that ``collect`` writes
_WHAT = "data sets"


@dataclass(frozen=True)
class Dataset:
    """E episodes of up to T steps; float64. Beyond an episode's length its last state and zero input are repeated.

    Attributes:
        states: (E, T + 1, nx), the state before each input and after the last.
        inputs: (E, T, nu), held over the step that follows.
        spec: Names with units and dt; a TaskSpec if the data comes from a task.
        lengths: (E,) steps of each episode.
        card: What else is known of the data: task, seed, versions.
    """

    states: Array
    inputs: Array
    spec: DynamicsSpec
    lengths: NDArray[np.int64]
    card: Mapping[str, Any] = field(default_factory=dict)

    @property
    def episodes(self) -> int:
        """E."""
        return len(self.lengths)

    @property
    def steps(self) -> int:
        """Transitions in all episodes."""
        return int(self.lengths.sum())

    def split(self, fractions: Sequence[float], seed: int) -> tuple[Dataset, ...]:
        """Parts of whole episodes, drawn at random: no transition of a part has a neighbour in another.

        Args:
            fractions: Of the parts, with sum 1.
            seed: Of the draw.

        Raises:
            InvalidInput: The fractions are not positive with sum 1, or a part would be empty.
        """
        shares = np.asarray(fractions, dtype=float)
        if len(shares) == 0 or not (shares > 0.0).all() or abs(shares.sum() - 1.0) > 1e-9:
            raise InvalidInput(f"fractions of a split must be positive with sum 1, got {list(fractions)}")
        edges = np.round(np.cumsum(shares) * self.episodes).astype(int)
        parts = np.split(np.random.default_rng(seed).permutation(self.episodes), edges[:-1])
        if min(map(len, parts)) == 0:
            raise InvalidInput(f"{self.episodes} episodes cannot be split into parts of {list(fractions)}")
        return tuple(self.take(np.sort(part)) for part in parts)

    def take(self, episodes: Sequence[int] | NDArray[np.int64]) -> Dataset:
        """These episodes, in this order."""
        chosen = np.asarray(episodes, dtype=int)
        return replace(self, states=self.states[chosen], inputs=self.inputs[chosen], lengths=self.lengths[chosen])

    def windows(self, horizon: int) -> tuple[Array, Array]:
        """All stretches of ``horizon`` steps: states (N, horizon + 1, nx) and inputs (N, horizon, nu).

        Raises:
            InvalidInput: The horizon is below 1 or longer than every episode.
        """
        if not 1 <= horizon <= int(self.lengths.max()):
            raise InvalidInput(f"a horizon of {horizon} steps: episodes have up to {int(self.lengths.max())}")
        starts = np.arange(self.inputs.shape[1] - horizon + 1)
        which, first = np.nonzero(starts[None, :] + horizon <= self.lengths[:, None])
        reach = first[:, None] + np.arange(horizon + 1)
        return self.states[which[:, None], reach], self.inputs[which[:, None], reach[:, :-1]]

    def task(self, name: str, weights: Mapping[str, float], margin: float = 0.5) -> TaskSpec:
        """What a planner needs to know of data that comes from no task, such as a user's log: goals and limits.

        Args:
            name: Of the task.
            weights: Of the states with a goal, by name, 1 / unit: these become the outputs.
            margin: Added on both sides of the states' range in the data, as a share of it. Inputs get none: nothing
                is known of what stronger ones do.

        Raises:
            InvalidInput: A state that the data has not, or no weights.
        """
        for state in weights:
            if state not in self.spec.state:
                raise InvalidInput(f"no state '{state}' to have a goal, there are {', '.join(self.spec.state)}")
        if not weights:
            raise InvalidInput(f"a task needs a state with a goal, there are {', '.join(self.spec.state)}")
        used = np.arange(self.inputs.shape[1] + 1) <= self.lengths[:, None]  # without padding
        states, inputs = self.states[used], self.inputs[used[:, 1:]]
        low, high = states.min(axis=0), states.max(axis=0)
        wide = margin * (high - low)
        return TaskSpec(
            **{field.name: getattr(self.spec, field.name) for field in fields(DynamicsSpec)},
            task=name,
            keypoints=(),
            state_lower=low - wide,
            state_upper=high + wide,
            input_lower=inputs.min(axis=0),
            input_upper=inputs.max(axis=0),
            output_names=tuple(weights),
            outputs=np.eye(len(low))[[self.spec.state.index(state) for state in weights]],
            weights=np.array(list(weights.values()), dtype=float),
        )

    def save(self, path: str | Path, card: Mapping[str, Any] | None = None) -> Path:
        """Writes ``path`` (.safetensors) and its card: spec, shape, and ``card`` (by default the one it has).

        Raises:
            InvalidInput: The data cannot be trained on (``check``), or the path is not a .safetensors file.
        """
        file = artefact.weights_path(path, _WHAT)
        check(self, str(file))
        tensors = {"states": self.states, "inputs": self.inputs, "lengths": self.lengths}
        about = self.card if card is None else card
        artefact.write(file, tensors, {**about, "format": FORMAT, "spec": plain(self.spec)}, _WHAT)
        return file


def dataset(episodes: Sequence[tuple[Array, Array]], spec: DynamicsSpec) -> Dataset:
    """Puts episodes of (T_i + 1, nx) states and (T_i, nu) inputs together, padded to the longest."""
    lengths = np.array([len(inputs) for _, inputs in episodes], dtype=np.int64)
    longest = int(lengths.max())
    states = np.empty((len(episodes), longest + 1, len(spec.state)))
    applied = np.zeros((len(episodes), longest, len(spec.inputs)))
    for i, (x, u) in enumerate(episodes):
        states[i, : len(x)], states[i, len(x) :], applied[i, : len(u)] = x, x[-1], u
    return Dataset(states, applied, spec, lengths)


def load(path: str | Path) -> Dataset:
    """Reads a data set: a .safetensors file, a folder that ``collect`` wrote, a .csv (``csv_data.read_csv``), or a
    .mcap log or a folder of such (``mcap_data.read_mcap``).

    Raises:
        InvalidInput: It is missing, incomplete or damaged, or cannot be trained on (``check``).
    """
    path = Path(path)
    if path.is_dir():
        logs = sorted(path.rglob("*.mcap"))
        if logs and not (path / FILE).is_file():
            from control_stack.learning.mcap_data import read_mcap

            return read_mcap(logs, str(path))
        if not (path / FILE).is_file():
            raise InvalidInput(f"{path} holds no {FILE}: run control-stack collect again to finish it")
        path = path / FILE
    if path.suffix == ".csv":
        from control_stack.learning.csv_data import read_csv

        return read_csv(path)
    if path.suffix == ".mcap":
        from control_stack.learning.mcap_data import read_mcap

        return read_mcap([path], str(path))
    if path.suffix != ".safetensors":
        raise InvalidInput(
            f"{path}: expected a .safetensors, .csv or .mcap file, or the folder of control-stack collect"
        )
    tensors, card = artefact.read(path, _WHAT)
    card_file = path.with_suffix(".json")
    if card.get("format") != FORMAT:
        raise InvalidInput(f"{card_file}: not the card of a data set (format '{FORMAT}')")
    if set(tensors) != {"states", "inputs", "lengths"}:
        raise InvalidInput(f"{path}: expected tensors states, inputs and lengths, got {', '.join(sorted(tensors))}")
    about = {name: value for name, value in card.items() if name not in ("format", "spec", "sha256")}
    try:
        spec = spec_from_card(card["spec"])
    except (InvalidInput, KeyError, TypeError, ValueError) as error:
        raise InvalidInput(f"{card_file}: {error}") from None
    return check(Dataset(tensors["states"], tensors["inputs"], spec, tensors["lengths"], about), str(path))


def digest(data: Dataset) -> str:
    """SHA-256 of names, sample time and numbers."""
    sha = hashlib.sha256(json.dumps([*data.spec.state, *data.spec.inputs, data.spec.dt]).encode())
    for array in (data.states, data.inputs, data.lengths):
        sha.update(np.ascontiguousarray(array).tobytes())
    return sha.hexdigest()


def check(data: Dataset, place: str) -> Dataset:
    """The data, if it can be trained on.

    Args:
        data: What to check.
        place: File it came from, for the message.

    Raises:
        InvalidInput: Shapes that do not belong together, NaN or infinity (episode, step and column are named), or a
            column that has the same value everywhere: its scale is zero, and nothing can be learnt from it.
    """
    count, steps = data.inputs.shape[:2] if data.inputs.ndim == 3 else (0, 0)
    expected = {"states": (count, steps + 1, len(data.spec.state)), "inputs": (count, steps, len(data.spec.inputs))}
    if count == 0 or steps == 0:
        raise InvalidInput(f"{place}: no transitions; inputs have shape {data.inputs.shape}")
    for name, shape in expected.items():
        array = getattr(data, name)
        if array.shape != shape or array.dtype != np.float64:
            raise InvalidInput(f"{place}: {name} are {array.shape} {array.dtype}, expected {shape} float64")
    if data.lengths.shape != (count,) or not ((data.lengths >= 1) & (data.lengths <= steps)).all():
        raise InvalidInput(f"{place}: lengths must be {count} numbers from 1 to {steps}")
    if not (np.isfinite(data.spec.dt) and data.spec.dt > 0.0):
        raise InvalidInput(f"{place}: dt is {data.spec.dt}, expected seconds above 0")
    for name, names, extra in (("states", data.spec.state, 1), ("inputs", data.spec.inputs, 0)):
        _check_columns(getattr(data, name), names, data.lengths + extra, place)
    return data


def _check_columns(values: Array, names: Sequence[str], lengths: NDArray[np.int64], place: str) -> None:
    for episode, step, column in np.argwhere(~np.isfinite(values))[:1]:
        raise InvalidInput(
            f"{place}: {names[column]} is {values[episode, step, column]} in episode {episode}, step {step}"
        )
    flat = values[np.arange(values.shape[1]) < lengths[:, None]]  # without padding
    constant = [names[int(k)] for k in np.flatnonzero(np.ptp(flat, axis=0) == 0.0)]
    if constant:
        plural = len(constant) > 1
        raise InvalidInput(
            f"{place}: {', '.join(constant)} {'have' if plural else 'has'} the same value everywhere: "
            f"leave {'these columns' if plural else 'this column'} out"
        )

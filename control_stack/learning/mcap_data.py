"""Logs of a robot as a data set: MCAP files with its states and its inputs as sensor_msgs/JointState.

States come on ``joint_states``, inputs on ``actuators/command``, both by the stamps in their headers. An input holds
until the next; what ``control-stack push`` logs is of this form. Columns are matched by name. A name that carries its
unit in brackets is a column as it is ("pusher.x [m]"); of another name the position becomes "NAME [m|rad]", the
velocity "NAME rate [m/s|rad/s]", the effort "NAME effort [N|Nm]".
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from control_stack.artefacts.joints import Joints, read_joints, topic_in
from control_stack.errors import InvalidInput
from control_stack.learning.csv_data import sample_time
from control_stack.learning.data import Dataset, check, dataset
from control_stack.protocols import DynamicsSpec
from control_stack.ros_layout import COMMAND_TOPIC
from control_stack.types import Array

STATES = "joint_states"
_SUFFIXES = {"position": " [m|rad]", "velocity": " rate [m/s|rad/s]", "effort": " effort [N|Nm]"}
_EARLY = 1e-6  # s: a command with the stamp of a state belongs to it


def read_mcap(paths: Sequence[Path], place: str) -> Dataset:
    """Reads logs, an episode each.

    Args:
        paths: Files of one robot.
        place: What they are called in messages.

    Raises:
        InvalidInput: A topic is missing, logs have different columns, a value is missing or not finite, states come at
            different intervals (by more than 5 %), no command precedes a log's second last state; or the data cannot
            be trained on (``data.check``).
        MissingDependency: mcap or rosbags is not installed.
    """
    episodes, steps, layout = [], [], None
    for path in paths:
        log = read_joints(path)
        states, commands = topic_in(log, STATES, path), topic_in(log, COMMAND_TOPIC, path)
        (state_names, x), (input_names, u) = _columns(states, path), _columns(commands, path)
        if layout is None:
            layout = (state_names, input_names)
        elif layout != (state_names, input_names):
            raise InvalidInput(f"{path}: columns {', '.join((*state_names, *input_names))} are not those of {paths[0]}")
        acting = np.searchsorted(commands.t, states.t + _EARLY, side="right") - 1
        first = int(np.argmax(acting >= 0))
        if acting[first] < 0 or len(states.t) - first < 2:
            raise InvalidInput(f"{path}: no two states after the first command")
        episodes.append((x[first:], u[acting[first:-1]]))
        steps.append(states.t[first:])
    if layout is None:
        raise InvalidInput(f"{place}: no logs")
    spec = DynamicsSpec(*layout, parameters=(), defaults=np.zeros(0), dt=_step(place, steps))
    return check(dataset(episodes, spec), place)


def _columns(joints: Joints, path: Path) -> tuple[tuple[str, ...], Array]:
    names, columns = [], []
    for field, values in joints.fields.items():
        for name, column in values.items():
            names.append(name if "[" in name else name + _SUFFIXES[field])
            columns.append(column)
            for row in np.flatnonzero(~np.isfinite(column))[:1]:
                raise InvalidInput(f"{path}: {field} of '{name}' is {column[row]} at {joints.t[row]:.3f} s")
    if not names or len(set(names)) != len(names):
        raise InvalidInput(f"{path}: joint states without values, or with a name twice: {', '.join(names) or 'none'}")
    return tuple(names), np.stack(columns, axis=1)


def _step(place: str, times: list[Array]) -> float:
    steps = np.concatenate([np.diff(t) for t in times])
    at = np.concatenate([t[1:] for t in times])
    return sample_time(steps, lambda k: f"{place}, {at[k]:.3f} s")

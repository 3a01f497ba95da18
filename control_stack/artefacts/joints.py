"""Reads sensor_msgs/JointState out of an MCAP log as columns, matched by name, and the statuses on /diagnostics."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from control_stack.artefacts.log import typestore
from control_stack.artefacts.record import Messages
from control_stack.errors import InvalidInput
from control_stack.types import Array

_JOINTS, _STATUSES = "sensor_msgs/msg/JointState", "diagnostic_msgs/msg/DiagnosticArray"
_FIELDS = ("position", "velocity", "effort")


@dataclass(frozen=True)
class Joints:
    """One topic of a log, by the stamps in its headers.

    Attributes:
        t: (n,) s, in order; of messages with equal stamps the last counts.
        fields: position, velocity, effort: name -> (n,); what no message ever gave is left out.
    """

    t: Array
    fields: dict[str, dict[str, Array]]

    def columns(self, field: str, names: Sequence[str]) -> Array:
        """(n, len(names)). Raises InvalidInput for a name that the field has not."""
        values = self.fields[field]
        for name in names:
            if name not in values:
                raise InvalidInput(f"no {field} of '{name}' in the log, it has: {', '.join(values) or 'none'}")
        return np.stack([values[name] for name in names], axis=1)


@dataclass(frozen=True)
class JointLog:
    """Topics by name without the leading slash and namespace, and (stamp s, node, values) of every status."""

    topics: dict[str, Joints]
    statuses: list[tuple[float, str, dict[str, str]]]


def read_joints(path: str | Path) -> JointLog:
    """Reads all JointState topics and statuses of a log of one robot; one that was cut is read up to the cut.

    Raises:
        InvalidInput: The file does not exist or is no MCAP log.
        MissingDependency: mcap or rosbags is not installed.
    """
    store = typestore()
    found: dict[str, dict[float, Any]] = defaultdict(dict)
    statuses = []
    for topic, msgtype, _, data in Messages(Path(path)):
        if msgtype not in (_JOINTS, _STATUSES):
            continue
        try:
            message = store.deserialize_cdr(data, msgtype)
        except Exception:  # rosbags raises whatever a wrong offset in the bytes leads to
            continue
        stamp = message.header.stamp
        t = stamp.sec + stamp.nanosec * 1e-9
        if msgtype == _JOINTS:
            found[topic.strip("/")][t] = message
        else:
            statuses += [(t, s.name, {pair.key: pair.value for pair in s.values}) for s in message.status]
    topics = {name: _columns(by_time) for name, by_time in found.items()}
    return JointLog(topics, sorted(statuses, key=lambda status: status[0]))


def _columns(by_time: dict[float, Any]) -> Joints:
    times = sorted(by_time)
    fields: dict[str, dict[str, Array]] = {}
    for field in _FIELDS:
        columns: dict[str, Array] = {}
        for row, t in enumerate(times):
            message = by_time[t]
            for name, value in zip(message.name, getattr(message, field), strict=False):
                columns.setdefault(name, np.full(len(times), np.nan))[row] = value
        fields[field] = columns
    return Joints(np.array(times), fields)


def topic_in(log: JointLog, name: str, path: str | Path) -> Joints:
    """The one topic of this name, whatever namespace stands before it.

    Raises:
        InvalidInput: There is none, or several.
    """
    wanted = name.strip("/")
    fitting = [topic for topic in log.topics if topic == wanted or topic.endswith(f"/{wanted}")]
    if len(fitting) != 1:
        there = ", ".join(sorted(log.topics)) or "none"
        raise InvalidInput(f"{path}: {len(fitting)} JointState topics '{wanted}'; the log has: {there}")
    return log.topics[fitting[0]]

"""How a command is laid out in the one topic ``actuators/command`` (sensor_msgs/JointState), free of ROS.

``header.frame_id`` names the level; every number has a named entry and one of its fields:

    rotors    rotor_0..3                 velocity  rad/s
    ctbr      rate_x, rate_y, rate_z     velocity  rad/s, FLU          thrust  effort  N
    attitude  quat_x .. quat_w           position  body to world       thrust  effort  N
              rate_x, rate_y, rate_z     velocity  rad/s, feed-forward, may be left out
    velocity  x, y, z                    velocity  m/s, world
              yaw                        position  rad; velocity rad/s (optional)
    position  x, y, z                    position  m, world; velocity m/s, feed-forward (optional)
              yaw                        position  rad

As JointState asks, a field array is as long as ``name`` or empty; entries that a level does not use are NaN.
Entries are matched by name, never by index. Log, nodes and emulators share these functions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from control_stack.errors import InputRejected
from control_stack.laws.cascade import command_columns
from control_stack.types import (
    Array,
    AttitudeThrustCommand,
    Command,
    CommandLevel,
    PositionCommand,
    RatesThrustCommand,
    RotorCommand,
    VelocityCommand,
)

COMMAND_TOPIC = "actuators/command"
NO_COMMAND = ""  # frame_id of an answer that holds no command: in lockstep time goes on, and nothing is flown
EVENT_PREFIX = "event/"  # a DiagnosticStatus of this name tells an event; others on /diagnostics are periodic

ROTORS = tuple(f"rotor_{i}" for i in range(4))  # in the order of the vehicle file
Slot = tuple[str, str]  # name, field
_XYZ = ("x", "y", "z")
_RATES = tuple((f"rate_{axis}", "velocity") for axis in _XYZ)

# In the order of ``laws.cascade.command_columns``.
SLOTS: dict[CommandLevel, tuple[Slot, ...]] = {
    CommandLevel.ROTORS: tuple((rotor, "velocity") for rotor in ROTORS),
    CommandLevel.CTBR: (*_RATES, ("thrust", "effort")),
    CommandLevel.ATTITUDE: (*((f"quat_{c}", "position") for c in "xyzw"), ("thrust", "effort"), *_RATES),
    CommandLevel.VELOCITY: (*((a, "velocity") for a in _XYZ), ("yaw", "position"), ("yaw", "velocity")),
    CommandLevel.POSITION: (
        *((a, "position") for a in _XYZ),
        *((a, "velocity") for a in _XYZ),
        ("yaw", "position"),
    ),
}
COMMAND_SIZE = {level: len(slots) for level, slots in SLOTS.items()}
# Feed-forward parts: zero when the sender has nothing to say about them. Sent as NaN they are still refused.
_OPTIONAL: dict[CommandLevel, frozenset[Slot]] = {
    CommandLevel.ROTORS: frozenset(),
    CommandLevel.CTBR: frozenset(),
    CommandLevel.ATTITUDE: frozenset(_RATES),
    CommandLevel.VELOCITY: frozenset({("yaw", "velocity")}),
    CommandLevel.POSITION: frozenset((a, "velocity") for a in _XYZ),
}
_NAMES = {level: tuple(dict.fromkeys(name for name, _ in slots)) for level, slots in SLOTS.items()}
_FIELDS = ("position", "velocity", "effort")
# Per level and field: (place among the names, column) of each number.
_PLACES = {
    level: {f: [(_NAMES[level].index(n), k) for k, (n, field) in enumerate(slots) if field == f] for f in _FIELDS}
    for level, slots in SLOTS.items()
}


def joint_fields(command: Command) -> tuple[list[str], Array, Array, Array]:
    """(name, position, velocity, effort) of one vehicle's command; the level goes to ``header.frame_id``."""
    columns = command_columns(command)
    names = _NAMES[command.level]

    def field_array(field: str) -> Array:
        places = _PLACES[command.level][field]
        values = np.full(len(names) if places else 0, math.nan)
        for place, column in places:
            values[place] = columns[column]
        return values

    return list(names), field_array("position"), field_array("velocity"), field_array("effort")


def command_from_fields(
    level_text: str,
    names: Sequence[str],
    position: Sequence[float] | Array,
    velocity: Sequence[float] | Array,
    effort: Sequence[float] | Array,
    stamp: float,
) -> Command:
    """The command in a JointState, in whatever order its entries come.

    Fields that the level does not use are ignored. Ranges and the quaternion's norm are left to
    ``boundary.check_command``.

    Raises:
        InputRejected: "none", an answer without a command; "level" unknown or not for a quadrotor;
            "names" unknown, missing or twice; "shape" of an array neither empty nor as long as ``names``; "nan"
            where a value is needed.
    """
    level = _level(level_text)
    place = {name: i for i, name in enumerate(names)}
    if len(place) != len(names):
        raise InputRejected("names", f"a name comes twice in {', '.join(names)}")
    unknown = sorted(set(place) - set(_NAMES[level]))
    if unknown:
        raise InputRejected("names", f"unknown '{unknown[0]}', {level.value} has {', '.join(_NAMES[level])}")
    fields = {"position": position, "velocity": velocity, "effort": effort}
    for field, values in fields.items():
        if len(values) not in (0, len(names)):
            raise InputRejected("shape", f"{field} has {len(values)} entries for {len(names)} names")
    columns = []
    for slot in SLOTS[level]:
        name, field = slot
        given = name in place and len(fields[field]) > 0
        if not given and slot not in _OPTIONAL[level]:
            raise InputRejected("names", f"{level.value} needs the {field} of '{name}'")
        value = float(fields[field][place[name]]) if given else 0.0
        if not math.isfinite(value):
            raise InputRejected("nan", f"{field} of '{name}' is not finite")
        columns.append(value)
    return _command(level, np.array(columns), stamp)


def command_from_columns(level: CommandLevel, columns: Array, stamp: float = 0.0) -> Command:
    """The inverse of ``laws.cascade.command_columns``. Raises InputRejected for a wrong number of columns."""
    if level not in SLOTS or np.shape(columns) != (COMMAND_SIZE[level],):
        raise InputRejected("shape", f"{level.value} with columns of shape {np.shape(columns)}")
    return _command(level, np.asarray(columns, dtype=float), stamp)


def _level(text: str) -> CommandLevel:
    if text == NO_COMMAND:
        raise InputRejected("none", "the controller has no command for this state")
    for level in SLOTS:
        if level.value == text:
            return level
    raise InputRejected("level", f"'{text}', expected {', '.join(level.value for level in SLOTS)}")


def _command(level: CommandLevel, c: Array, stamp: float) -> Command:
    if level is CommandLevel.ROTORS:
        return RotorCommand(c, stamp)
    if level is CommandLevel.CTBR:
        return RatesThrustCommand(c[0:3], float(c[3]), stamp)
    if level is CommandLevel.ATTITUDE:
        return AttitudeThrustCommand(c[0:4], float(c[4]), c[5:8], stamp)
    if level is CommandLevel.VELOCITY:
        return VelocityCommand(c[0:3], float(c[3]), float(c[4]), stamp)
    return PositionCommand(c[0:3], c[3:6], float(c[6]), stamp)

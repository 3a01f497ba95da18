"""Messages of arms: states, and references that know their future."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sensor_msgs.msg import JointState
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from control_stack.arm.sampled import SampledJoints
from control_stack.boundary import frame
from control_stack.errors import InputRejected, InvalidInput
from control_stack.ros import messages
from control_stack.types import ArmState


def arm_state(names: Sequence[str], state: ArmState, stamp: float, frame_id: str) -> JointState:
    """A measured state; effort is left out where it is not measured."""
    message = JointState(name=list(names), position=state.position.tolist(), velocity=state.velocity.tolist())
    message.effort = [] if state.effort is None else state.effort.tolist()
    message.header.stamp, message.header.frame_id = messages.to_time(stamp), frame_id
    return message


def arm_state_from(message: JointState, names: Sequence[str], frame_id: str) -> ArmState:
    """The state of these joints, in their order. Raises InputRejected."""
    frame(message.header.frame_id, (frame_id,))
    position, velocity = (messages.values_of(message, field, names) for field in ("position", "velocity"))
    effort = messages.values_of(message, "effort", names) if len(message.effort) else None
    return ArmState(position, velocity, effort, messages.to_seconds(message.header.stamp))


def trajectory(names: Sequence[str], reference: SampledJoints, frame_id: str) -> JointTrajectory:
    """All samples of a reference that begins at time 0."""
    message = JointTrajectory(joint_names=list(names))
    message.header.frame_id = frame_id
    rows = zip(reference.position, reference.velocity, reference.acceleration, strict=True)
    for k, (q, v, a) in enumerate(rows):
        point = JointTrajectoryPoint(positions=q.tolist(), velocities=v.tolist(), accelerations=a.tolist())
        point.time_from_start.sec, point.time_from_start.nanosec = divmod(round(k * reference.period * 1e9), 10**9)
        message.points.append(point)
    return message


def trajectory_from(message: JointTrajectory, names: Sequence[str], frame_id: str) -> SampledJoints:
    """A reference with velocities and accelerations at equal intervals, its joints in the order of ``names``.

    Raises:
        InputRejected: "frame"; "names"; "trajectory": samples that are missing, not finite or not at equal intervals.
    """
    frame(message.header.frame_id, (frame_id,))
    if sorted(message.joint_names) != sorted(names):
        raise InputRejected("names", f"expected {', '.join(names)}, got {', '.join(message.joint_names)}")
    times = np.array([p.time_from_start.sec + p.time_from_start.nanosec * 1e-9 for p in message.points])
    steps = np.diff(times)
    if len(times) < 2 or times[0] != 0.0 or steps.min() <= 0.0 or np.ptp(steps) > 1e-6:
        raise InputRejected("trajectory", "a reference begins at 0 s and has samples at equal intervals")
    order = [list(message.joint_names).index(name) for name in names]
    fields = [[getattr(p, field) for p in message.points] for field in ("positions", "velocities", "accelerations")]
    if any(len(row) != len(names) for rows in fields for row in rows):
        raise InputRejected("trajectory", "every sample needs a position, velocity and acceleration of every joint")
    period = round(times[-1] / (len(times) - 1), 9)
    try:
        return SampledJoints(period, *(np.array(rows, dtype=float)[:, order] for rows in fields))
    except InvalidInput as error:
        raise InputRejected("trajectory", str(error)) from None

"""The task node: a table with a pusher on ROS 2, in lockstep with a planner or at a real-time factor.

Out: joint_states (the state), goal, phase, /diagnostics, /clock. In: actuators/command, and plan and /diagnostics for
the log. Names are those of the task's spec, units included; entries are matched by name.
"""

from __future__ import annotations

import sys
from typing import Any

from rclpy.publisher import Publisher
from sensor_msgs.msg import JointState
from trajectory_msgs.msg import JointTrajectory

from control_stack.boundary import frame
from control_stack.ros import messages, qos
from control_stack.ros.lifecycle import run
from control_stack.ros.parameters import Declared
from control_stack.ros.world_node import WorldNode
from control_stack.types import Array
from sim.tasks.closed_loop import DELAYS, FRAME, INPUTS, ClosedLoop, StepDelay, chosen_goal, goal_entries
from sim.tasks.factory import TASKS, make_task

PARAMETERS = (
    Declared("task", "pushing-disc", "what is on the table", choices=tuple(TASKS)),
    Declared("goal", "", "pose of the object, x,y or x,y,angle in m and rad; empty: drawn by the seed"),
    Declared("seed", 0, "of start and goal", limits=(0, 2**31 - 1)),
    Declared("steps", 60, "after which it is over", limits=(1, 10_000)),
    Declared("lockstep", True, "hold time until the command for each state has arrived"),
    Declared(
        "lockstep_timeout", 10.0, "s of wall time to wait for a command before a step is made", limits=(0.1, 600.0)
    ),
    Declared("real_time_factor", 1.0, "speed of simulated time when not in lockstep", limits=(0.01, 100.0)),
    Declared("compute_delay", "none", "when a command acts", choices=DELAYS),
    Declared(
        "command_timeout", 0.5, "s without a command, outside lockstep, until the pusher stops", limits=(0.1, 10.0)
    ),
    Declared("log_path", "", "MCAP file to write; empty for none"),
)


class TaskNode(WorldNode[ClosedLoop]):
    """Owns the task and its time. Where no command comes the pusher stands still."""

    answers = "planner"
    keeps = (("plan", JointTrajectory),)

    def __init__(self) -> None:
        super().__init__("task", PARAMETERS)
        self._task: Any = None

    def make(self) -> ClosedLoop:
        """A table with start and goal drawn."""
        self._task = task = make_task(self.parameter("task"))
        goal = chosen_goal(task, self.parameter("goal"), self.parameter("seed"))
        log = self.open_log()
        task.reset(self.parameter("seed"))
        return ClosedLoop(task, goal, self.parameter("steps"), StepDelay(self.parameter("compute_delay")), log)

    def release(self) -> None:
        """Closes the table."""
        if self._task is not None:
            self._task.close()
        self._task = None

    def tell(self, world: ClosedLoop) -> Publisher:
        """Its goal."""
        publisher = self.create_publisher(JointState, "goal", qos.LATCHED)
        publisher.publish(messages.joints(*goal_entries(world.task.spec.output_names, world.goal), 0.0, FRAME))
        return publisher

    def state(self, world: ClosedLoop) -> JointState:
        """The state of the model that is planned through."""
        return messages.joints(world.task.spec.state, world.task.state, world.t, FRAME)

    def command(self, world: ClosedLoop, message: JointState, stamp: float) -> Array:
        """(nu,) velocities."""
        frame(message.header.frame_id, (INPUTS,))
        return messages.values_of(message, "velocity", world.task.spec.inputs)


def main(arguments: list[str] | None = None) -> int:
    """Runs the node; the executable ``task_node``."""
    return run(TaskNode, arguments)


if __name__ == "__main__":
    sys.exit(main())

"""The planner node: any planner of this folder on ROS 2. State and goal in; command, plan and its figures out."""

from __future__ import annotations

import sys
from collections import deque
from pathlib import Path
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.lifecycle import LifecycleState, TransitionCallbackReturn
from sensor_msgs.msg import JointState
from trajectory_msgs.msg import JointTrajectory

from control_stack.boundary import Rejections, frame
from control_stack.errors import ControlStackError, InputRejected
from control_stack.learning.shipped import model_of
from control_stack.learning.sparse_relu import SparseReLUDynamics
from control_stack.learning.spec import Goal
from control_stack.ros import messages, qos
from control_stack.ros.lifecycle import ManagedNode, run
from control_stack.ros.parameters import Declared
from control_stack.ros_layout import COMMAND_TOPIC, NO_COMMAND
from controllers.planning.constraints import read_constraints
from controllers.planning.factory import PLANNERS, deadline_of, make_planner, read_settings
from controllers.planning.problem import Plan, Planner, Problem
from controllers.planning.receding import RecedingHorizon

PARAMETERS = (
    Declared("controller", "mip", "the planner", choices=PLANNERS),
    Declared("task", "pushing-disc", "whose shipped model is planned through, where `model` names none"),
    Declared("model", "", "a model.safetensors of control-stack fit sparse; empty: the shipped one of the task"),
    Declared("horizon", 8, "steps that are planned ahead", limits=(1, 50)),
    Declared("effort", 0.003, "cost of a unit of every input in every step", limits=(0.0, 1e6)),
    Declared("deadline", 0.0, "s of wall time of a plan; 0: 0.1 for solvers, none for samplers", limits=(0.0, 60.0)),
    Declared("settings", "", "a file with the planner's settings, as of scripts/tune_samplers.py"),
    Declared("constraints", "", "a YAML file of linear constraints on states and inputs by name"),
    Declared("seed", 0, "of a sampler's draws", limits=(0, 2**31 - 1)),
    Declared("delayed", False, "whether a command acts a step later, as with a compute_delay of the task"),
    Declared("lockstep", True, "as of the task: every state is waited for"),
)
_INPUTS, _WORLD = "inputs", ("map", "odom")
_SOLVE_TIMES = 1000  # of the last plans, for the percentiles


class PlannerNode(ManagedNode):
    """Plans in the callback of each state, so that a slow plan skips the states in between outside lockstep."""

    def __init__(self) -> None:
        super().__init__("planner", PARAMETERS)
        self._planner: Planner | None = None
        self._goal: Goal | None = None
        self._rejections = Rejections()
        self._entities: list[Any] = []
        self._solve_times: deque[float] = deque(maxlen=_SOLVE_TIMES)

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Loads the model and builds the planner."""
        return self.guarded(self._configure)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Opens inputs and outputs."""
        self._controller.reset()
        self._commands = self.create_publisher(JointState, COMMAND_TOPIC, qos.COMMAND)
        self._plans = self.create_publisher(JointTrajectory, "plan", qos.EVENTS)
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", qos.EVENTS)
        self._entities = [
            self.create_subscription(JointState, "goal", self._on_goal, qos.LATCHED),
            self.create_subscription(
                JointState, "joint_states", self._on_state, qos.subscribe(self.parameter("lockstep"))
            ),
        ]
        return super().on_activate(state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Without this publisher the pusher stops."""
        for subscription in self._entities:
            self.destroy_subscription(subscription)
        for publisher in (self._commands, self._plans, self._diagnostics):
            self.destroy_publisher(publisher)
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Lets go of the planner."""
        self.finish()
        return super().on_cleanup(state)

    def finish(self) -> None:
        """Ends the planner's processes."""
        if self._planner is not None:
            self._planner.close()
        self._planner = None

    def _configure(self) -> None:
        name, path = self.parameter("controller"), self.parameter("settings")
        settings = read_settings(path, name) if path else {}
        file = Path(self.parameter("model")) if self.parameter("model") else model_of(self.parameter("task"))
        model = SparseReLUDynamics.load(file)
        effort = np.full(len(model.spec.inputs), self.parameter("effort"))
        path = self.parameter("constraints")
        constraints = read_constraints(path, model.spec) if path else ()
        problem = Problem(model, self.parameter("horizon"), effort=effort, constraints=constraints)
        self._planner = make_planner(name, problem, self.parameter("seed"), settings)
        deadline = deadline_of(name, self.parameter("deadline"), settings)
        if deadline is not None:
            self._planner.warm()
        self._controller = RecedingHorizon(self._planner, deadline, self.parameter("delayed"))
        self._problem = problem

    def _on_goal(self, message: JointState) -> None:
        outputs, given = self._problem.spec.output_names, set(message.name)
        try:
            frame(message.header.frame_id, _WORLD)
            target = messages.values_of(message, "position", outputs)
            widths = {"half_width": np.full(len(outputs), np.inf), "free": np.zeros(len(outputs))}
            for name in widths:
                entries = [f"{output}:{name}" for output in outputs]
                if given & set(entries):
                    widths[name] = messages.values_of(message, "position", entries, infinite=True)
            self._goal = self._problem.spec.check_goal(Goal(target, **widths))
        except (InputRejected, ControlStackError) as error:
            rejected = error if isinstance(error, InputRejected) else InputRejected("goal", str(error))
            self._rejections.add("goal", rejected)
            self.get_logger().warning(f"goal dropped: {error}")

    def _on_state(self, message: JointState) -> None:
        answer = JointState()
        answer.header.stamp, answer.header.frame_id = message.header.stamp, NO_COMMAND
        try:
            frame(message.header.frame_id, _WORLD)
            x = messages.values_of(message, "position", self._problem.spec.state)
            if self._goal is None:
                raise InputRejected("goal", "none has come yet")
            plan = self._controller(x, self._goal)
        except InputRejected as error:
            self._rejections.add("state", error)
        else:
            stamp = messages.to_seconds(message.header.stamp)
            inputs = self._problem.spec.inputs
            answer = messages.joints(inputs, plan.inputs[0], stamp, _INPUTS, field="velocity")
            self._tell(plan, stamp)
        self._commands.publish(answer)

    def _tell(self, plan: Plan, stamp: float) -> None:
        spec = self._problem.spec
        self._plans.publish(messages.plan_message(spec.state, plan.states, spec.dt, stamp, _WORLD[0]))
        self._solve_times.append(plan.solve_s)
        p50, p99 = np.percentile(self._solve_times, [50, 99]).tolist()
        values = {
            **plan.values(),
            "controller": self.parameter("controller"),
            "solve_time_p50_s": f"{p50:.2e}",
            "solve_time_p99_s": f"{p99:.2e}",
            **{key: str(count) for key, count in self._rejections.counts.items()},
        }
        at = messages.to_time(stamp)
        self._diagnostics.publish(messages.status_message(self.get_fully_qualified_name(), values, at))


def main(arguments: list[str] | None = None) -> int:
    """Runs the node; the executable ``planner_node``."""
    return run(PlannerNode, arguments)


if __name__ == "__main__":
    sys.exit(main())

"""The arm node: a simulated arm on ROS 2, in lockstep with a controller or at a real-time factor.

Out: joint_states, reference (the whole of it, at equal intervals), phase, /diagnostics, /clock. In: actuators/command
(frame_id "joints", effort by joint name), and /diagnostics for the log. Where no command comes the brakes hold the arm.
"""

from __future__ import annotations

import sys

from rclpy.lifecycle import LifecycleState, TransitionCallbackReturn
from rclpy.publisher import Publisher
from sensor_msgs.msg import JointState
from trajectory_msgs.msg import JointTrajectory

from control_stack.arm.changes import changes_of
from control_stack.arm.draws import KINDS
from control_stack.arm.library import load_arm
from control_stack.boundary import frame
from control_stack.ros import messages, qos
from control_stack.ros.joint_messages import arm_state, trajectory
from control_stack.ros.lifecycle import run
from control_stack.ros.parameters import Declared
from control_stack.ros.world_node import WorldNode
from control_stack.types import JointCommand
from sim.arm.bullet import BulletArm
from sim.arm.closed_loop import FRAME, INPUTS, ArmLoop, delay_of, simulation, start_reference

PARAMETERS = (
    Declared("arm", "panda", "a shipped arm, or an arm file or URDF"),
    Declared("reference", "multi_sine", "what is followed", choices=KINDS),
    Declared("duration", 10.0, "of the reference, s", limits=(4.0, 60.0)),
    Declared("seed", 0, "of the reference and the sensors' noise", limits=(0, 2**31 - 1)),
    Declared("changes", "", "loads, as T:KG,X,Y,Z;T:KG"),
    Declared("friction", 1.0, "factor on the arm's own friction", limits=(0.0, 10.0)),
    Declared("sensors", "typical", "noise of what is measured", choices=("typical", "none")),
    Declared("lockstep", True, "hold time until the command for each state has arrived"),
    Declared(
        "lockstep_timeout", 10.0, "s of wall time to wait for a command before the brakes act", limits=(0.1, 600.0)
    ),
    Declared("real_time_factor", 1.0, "speed of simulated time when not in lockstep", limits=(0.01, 100.0)),
    Declared("compute_delay", "fixed", "when a command acts", choices=("none", "fixed", "measured")),
    Declared(
        "command_timeout", 0.1, "s without a command, outside lockstep, until the brakes act", limits=(0.04, 10.0)
    ),
    Declared("log_path", "", "MCAP file to write; empty for none"),
)


class ArmNode(WorldNode[ArmLoop]):
    """Owns the arm and its time."""

    answers = "controller"

    def __init__(self) -> None:
        super().__init__("arm", PARAMETERS)
        self._arm: BulletArm | None = None

    def make(self) -> ArmLoop:
        """An arm at the start of the reference that is drawn for it."""
        value = self.parameter
        parameters, changes = load_arm(value("arm")), changes_of(value("changes"))
        self._reference = reference = start_reference(
            parameters, value("reference"), value("seed"), value("duration"), changes
        )
        self._arm = arm = BulletArm(parameters, simulation(value("seed"), value("sensors"), value("friction")))
        arm.connect()
        delay = delay_of(value("compute_delay"), 1.0 / arm.spec.rate_hz)
        return ArmLoop(arm, reference, changes, delay, self.open_log())

    def release(self) -> None:
        """Closes the arm."""
        if self._arm is not None:
            self._arm.close()
        self._arm = None

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stops time, with the brakes on."""
        done = super().on_deactivate(state)
        self.world.arm.disarm()
        return done

    def tell(self, world: ArmLoop) -> Publisher:
        """Its whole reference."""
        publisher = self.create_publisher(JointTrajectory, "reference", qos.LATCHED)
        publisher.publish(trajectory(world.arm.parameters.joint_names, self._reference, FRAME))
        return publisher

    def state(self, world: ArmLoop) -> JointState:
        """What is measured of the joints."""
        return arm_state(world.arm.parameters.joint_names, world.arm.state(), world.t, FRAME)

    def command(self, world: ArmLoop, message: JointState, stamp: float) -> JointCommand:
        """Torques."""
        frame(message.header.frame_id, (INPUTS,))
        return JointCommand(messages.values_of(message, "effort", world.arm.parameters.joint_names), stamp)


def main(arguments: list[str] | None = None) -> int:
    """Runs the node; the executable ``arm_node``."""
    return run(ArmNode, arguments)


if __name__ == "__main__":
    sys.exit(main())

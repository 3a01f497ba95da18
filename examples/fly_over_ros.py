"""Fly through the ROS 2 surface with rclpy alone: services, a goal, a change of controller, odometry.

It needs a vehicle and a controller that run; in two other terminals:

    sim_node
    controller_node --ros-args -p "controllers:=[geometric, lqr]"
"""

import os
import signal
import time

import rclpy
from geometry_msgs.msg import PoseStamped
from nav_msgs.msg import Odometry
from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
from rcl_interfaces.srv import SetParameters
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, qos_profile_sensor_data
from rclpy.signals import SignalHandlerOptions
from std_msgs.msg import String
from std_srvs.srv import SetBool, Trigger


class Pilot(Node):
    """A user of the vehicle: knows its phase, its odometry and its services, and nothing else."""

    def __init__(self):
        super().__init__("pilot")
        self.phase, self.odom = "unknown", None
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self.create_subscription(String, "phase", self.on_phase, latched)
        self.create_subscription(Odometry, "odom", self.on_odom, qos_profile_sensor_data)
        self.goal = self.create_publisher(PoseStamped, "command_pose", 1)

    def on_phase(self, message):
        """disarmed, armed, takeoff, flying, hold, landing or emergency."""
        self.phase = message.data

    def on_odom(self, message):
        """The newest state."""
        self.odom = message

    def until(self, done, what, seconds=60.0):
        """Spins until done; gives up after some seconds of wall time."""
        deadline = time.monotonic() + seconds
        while not done():
            if time.monotonic() > deadline:
                raise SystemExit(f"never came: {what} (phase: {self.phase})")
            rclpy.spin_once(self, timeout_sec=0.1)

    def call(self, kind, name, request):
        """The reply of a service."""
        client = self.create_client(kind, name)
        self.until(client.service_is_ready, f"service {name}: do both nodes run?")
        future = client.call_async(request)
        self.until(future.done, f"reply of {name}")
        return future.result()

    def request(self, name, kind=Trigger, **fields):
        """Calls arm, takeoff, land or emergency; success means accepted, how it goes is told by the phase."""
        reply = self.call(kind, name, kind.Request(**fields))
        if not reply.success:
            raise SystemExit(f"{name} refused: {reply.message}")

    def use(self, controller):
        """Lets another of the controllers that were built at configure fly: the parameter `controller`."""
        value = ParameterValue(type=ParameterType.PARAMETER_STRING, string_value=controller)
        change = SetParameters.Request(parameters=[Parameter(name="controller", value=value)])
        (result,) = self.call(SetParameters, "controller/set_parameters", change).results
        if not result.successful:
            raise SystemExit(f"{controller} refused: {result.reason}")
        print(f"{controller} takes over after its warm-up in shadow")

    def go_to(self, *goal):
        """Flies to x, y, z (m, map) and waits until it is there and slow."""
        message = PoseStamped()
        message.header.frame_id = "map"
        place = message.pose.position
        place.x, place.y, place.z = goal
        self.goal.publish(message)
        self.until(lambda: self.distance(goal) < 0.05 and self.speed() < 0.05, f"arrival at {goal}")
        stamp = self.odom.header.stamp
        print(f"[{stamp.sec + 1e-9 * stamp.nanosec:.2f} s] at {goal}, {100 * self.distance(goal):.1f} cm off")

    def distance(self, goal):
        """From here to the goal, m."""
        here = self.odom.pose.pose.position
        return sum((a - b) ** 2 for a, b in zip((here.x, here.y, here.z), goal, strict=True)) ** 0.5

    def speed(self):
        """m/s."""
        v = self.odom.twist.twist.linear
        return (v.x**2 + v.y**2 + v.z**2) ** 0.5

    def down(self):
        """Lands, unless it is on the ground already, and waits until it has."""
        if self.phase not in ("takeoff", "flying", "hold", "landing"):
            return
        self.request("land")
        self.until(lambda: self.phase in ("disarmed", "emergency"), "the landing")
        print("landed" if self.phase == "disarmed" else "down, motors cut")


def main():
    """Arms, takes off, flies to two places with two controllers, lands; lands first when anything is refused."""
    os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")  # as the nodes do
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)  # rclpy's own would end all talk at Ctrl-C: no landing
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    pilot = Pilot()
    pilot.until(lambda: pilot.odom is not None, "odometry: do both nodes run?")
    pilot.request("arm", SetBool, data=True)
    try:
        pilot.request("takeoff")
        pilot.until(lambda: pilot.phase == "flying", "the end of the take-off")
        pilot.go_to(0.5, 0.3, 1.2)
        pilot.use("lqr")
        pilot.go_to(0.0, 0.0, 1.0)
        pilot.use("geometric")
    finally:  # also after Ctrl-C, or when the controller that is asked for was not built
        pilot.down()
    pilot.destroy_node()
    rclpy.shutdown()


if __name__ == "__main__":
    main()

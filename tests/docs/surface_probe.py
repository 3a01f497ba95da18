"""Prints what both nodes offer, as one line of JSON; true or false says whether in lockstep.

Run it in a process of its own: the nodes use rclpy's global context.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import rclpy
from rclpy.qos import DurabilityPolicy, ReliabilityPolicy

from control_stack.ros.lifecycle import ManagedNode
from control_stack.ros.messages import to_time
from controllers.node import ControllerNode
from sim.node import SimNode

_OF_ROS = ("/rosout", "/parameter_events", "transition_event")


def _kind(interface: Any) -> str:
    return f"{interface.__module__.split('.')[0]}/{interface.__name__}"


def _topic(direction: str, entity: Any) -> list[Any]:
    """Direction, name, type, reliable, depth, latched, lease of liveliness in s or None."""
    q = entity.qos_profile
    lease = q.liveliness_lease_duration.nanoseconds * 1e-9
    reliable = q.reliability is ReliabilityPolicy.RELIABLE
    latched = q.durability is DurabilityPolicy.TRANSIENT_LOCAL
    kept = lease if 0.0 < lease < 1e6 else None
    return [direction, entity.topic_name, _kind(entity.msg_type), reliable, q.depth, latched, kept]


def _surface(node: ManagedNode) -> dict[str, Any]:
    sides = (("out", node.publishers), ("in", node.subscriptions))
    topics = [_topic(direction, e) for direction, found in sides for e in found]
    services = [[s.srv_name, _kind(s.srv_type)] for s in node.services]
    return {
        "topics": [topic for topic in topics if not topic[1].endswith(_OF_ROS)],
        "services": [service for service in services if "/" not in service[0]],
    }


class _Caught:
    """Stands in for the diagnostics publisher."""

    keys: tuple[str, ...] = ()

    def publish(self, message: Any) -> None:
        self.keys = tuple(pair.key for pair in message.status[0].values)


def _controller_keys(node: ControllerNode) -> tuple[str, ...]:
    caught, publisher = _Caught(), node._diagnostics
    node._side.call_times.extend([0.0, 0.01])
    node._side.solve_times.extend([0.001, 0.001])
    node._diagnostics = caught
    node._publish_diagnostics(to_time(0.0))
    node._diagnostics = publisher
    return caught.keys


def main() -> None:
    # The foundation policy, because it reads all that a controller can be given.
    chosen = [f"lockstep:={sys.argv[1]}", "sim:backend:=analytic", "controller:controller:=foundation"]
    rclpy.init(args=["--ros-args", *(text for value in chosen for text in ("-p", value))])
    sim, controller = SimNode(), ControllerNode()
    found = {}
    for node in (sim, controller):
        node.start()
        found[node.get_name()] = _surface(node)
    found["controller"]["keys"] = _controller_keys(controller)
    found["sim"]["keys"] = list(sim.diagnostics())
    for node in (sim, controller):
        node.finish()
        node.destroy_node()
    rclpy.shutdown()
    print("FOUND" + json.dumps(found))


if __name__ == "__main__":
    main()

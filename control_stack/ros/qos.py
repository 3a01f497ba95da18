"""Quality of service of the surface: publishers are reliable, keep last 1, so both kinds of subscriber can join."""

from __future__ import annotations

from rclpy.duration import Duration
from rclpy.qos import DurabilityPolicy, LivelinessPolicy, QoSProfile, ReliabilityPolicy

_LEASE = Duration(seconds=0.5)

PUBLISH = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE)
SENSOR = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
# A command's publisher must show that it is alive; a subscriber with the same lease is told when it is not.
COMMAND = QoSProfile(
    depth=1,
    reliability=ReliabilityPolicy.RELIABLE,
    liveliness=LivelinessPolicy.AUTOMATIC,
    liveliness_lease_duration=_LEASE,
)
# Deeper, so that another publisher's messages on the topic cannot push the controller's out.
COMMAND_IN = QoSProfile(
    depth=10,
    reliability=ReliabilityPolicy.RELIABLE,
    liveliness=LivelinessPolicy.AUTOMATIC,
    liveliness_lease_duration=_LEASE,
)
EVENTS = QoSProfile(depth=100, reliability=ReliabilityPolicy.RELIABLE)
LATCHED = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL)


def subscribe(lockstep: bool) -> QoSProfile:
    """Sensor streams are read best effort, reliable in lockstep, where each one is waited for."""
    return PUBLISH if lockstep else SENSOR

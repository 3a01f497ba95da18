"""The two sides of a flight, free of ROS: the side that owns the vehicle and the side that owns the controller.

ROS nodes are thin adapters of these; ``--no-ros`` calls them in one process. Both therefore fly the same code.
"""

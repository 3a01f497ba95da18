"""The two sides of a flight, free of ROS: that of the vehicle and that of the controller.

ROS nodes are thin adapters of these; ``--no-ros`` calls them in one process. Both fly the same code.
"""

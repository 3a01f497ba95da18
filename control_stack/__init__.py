"""control_stack: model-based control of robots, from learned dynamics to ROS 2 nodes and real vehicles."""

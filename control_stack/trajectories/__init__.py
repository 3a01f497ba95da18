"""Trajectories: references over time for the flat outputs of a quadrotor (position and yaw)."""

from control_stack.trajectories.compose import Chain, chain, steady_interval, with_approach
from control_stack.trajectories.csv_file import load_csv, load_waypoints
from control_stack.trajectories.excite import Excite
from control_stack.trajectories.goto import GoTo, connect
from control_stack.trajectories.hover import Hover
from control_stack.trajectories.lissajous import Lissajous
from control_stack.trajectories.minimum_snap import MinimumSnap
from control_stack.trajectories.parse import parse_trajectory
from control_stack.trajectories.polynomial import PiecewisePolynomial
from control_stack.trajectories.sampled import SampledTrajectory, Samples, sample

__all__ = [
    "Chain",
    "Excite",
    "GoTo",
    "Hover",
    "Lissajous",
    "MinimumSnap",
    "PiecewisePolynomial",
    "SampledTrajectory",
    "Samples",
    "chain",
    "connect",
    "load_csv",
    "load_waypoints",
    "parse_trajectory",
    "sample",
    "steady_interval",
    "with_approach",
]

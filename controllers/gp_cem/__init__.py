"""Gradient-free MPC of the quadrotor: a Gaussian process in its model, a safety filter in its rollouts. docs/gp_cem.md."""

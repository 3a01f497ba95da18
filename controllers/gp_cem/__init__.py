"""Gradient-free MPC of the quadrotor: it learns what its model misses, and filters its rollouts. See docs/gp_cem.md."""

"""Nonlinear model predictive control for any model with a CasADi form f(x, u, p) -> x+: see ``solver.Nmpc``."""

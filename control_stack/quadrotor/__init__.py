"""Quadrotor model: parameters, equations of motion, ground contact and their CasADi twins."""

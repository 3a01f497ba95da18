"""Simulated arms under joint torques, in PyBullet."""

"""Simulated vehicles behind the Vehicle protocol: an analytic quadrotor, a PyBullet one, wind and sensors."""

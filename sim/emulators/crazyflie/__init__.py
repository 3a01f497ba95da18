"""The simulated quadrotor as a Crazyflie on its wire (CRTP), for cflib and everything built on it."""

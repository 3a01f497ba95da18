"""What is particular to the Crazyflie and pure: shared by its driver and its emulator."""

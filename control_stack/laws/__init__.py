"""Pure control laws of a quadrotor, shared by controllers, simulated vehicles and link emulators."""

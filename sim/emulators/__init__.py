"""The simulated quadrotor at the far end of a vendor's wire: what a real vehicle would answer to its client."""

"""The part of the safety layer that runs in the process that owns the vehicle. See docs/failsafe.md."""

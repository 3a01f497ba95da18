"""The front door: ``control-stack``. The only place that may import every room, and each of them lazily."""

from control_stack.cli.main import main

__all__ = ["main"]

"""Planning by mixed-integer programming: a ReLU model, linear costs and constraints as rows, solved by HiGHS."""

from controllers.planning.mip.planner import MipPlanner

__all__ = ["MipPlanner"]

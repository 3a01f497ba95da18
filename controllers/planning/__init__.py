"""Planning through a learned model: the problem, and planners that answer it."""

"""Training of sparse ReLU dynamics: the ladder of budgets, the ways to thin a net, and its rivals. Needs torch."""

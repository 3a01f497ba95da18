"""Controllers: laws from state and reference to a command, one file each, and the node that runs them."""

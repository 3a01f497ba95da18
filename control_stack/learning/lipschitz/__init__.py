"""Dynamics whose Lipschitz constant is known: models that carry a proof, how they are fitted, and what is proved."""

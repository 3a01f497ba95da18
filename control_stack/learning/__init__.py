"""Learned dynamics: data, models that are fitted to it, and how they are stored."""

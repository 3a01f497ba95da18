"""Tasks to learn and plan on: planar pushing, sorting and a rope in PyBullet, and two numeric ones."""

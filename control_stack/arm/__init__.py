"""Arms: serial chains of turning joints, their rigid-body dynamics, loads and references."""

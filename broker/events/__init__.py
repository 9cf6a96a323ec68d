"""Emitted events: stored, delivered at least once, and kept as dead letters if that fails."""

"""Overload, neighbours that flood, and faults: what clients see of them."""

"""Custom resources without a cluster."""

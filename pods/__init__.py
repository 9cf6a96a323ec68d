"""The pod reconciler, and the drivers that run pods."""

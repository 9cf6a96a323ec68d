"""The cost of a whole request, compared with its floor: ``python -m benchmarks.e2e``."""

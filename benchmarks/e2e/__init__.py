"""How does a whole request compare with the least it could cost? ``python -m benchmarks.e2e``."""

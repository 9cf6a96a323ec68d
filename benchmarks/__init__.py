"""Benchmarks: one question a file, results as JSON beside a rendered table."""

"""Shared parts of the benchmarks: load generator, processes and their costs, rounds, reports."""

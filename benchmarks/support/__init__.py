"""What benchmarks share: load, processes and what they cost, rounds, reports."""

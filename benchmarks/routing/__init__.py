"""The cost of routing from 10 to 100,000 deployments: ``python -m benchmarks.routing``."""

"""Does routing stay flat from 10 to 100,000 deployments? ``python -m benchmarks.routing``."""

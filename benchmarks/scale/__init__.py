"""The cost of the platform at 100 and at 100,000 deployments, side by side in one run."""

"""Attacks on a running platform and on its tools, each as a test with real processes."""

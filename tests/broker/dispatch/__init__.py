"""Tests of broker.dispatch."""

"""Tests of routing.snapshot."""

"""Tests of broker.streams."""

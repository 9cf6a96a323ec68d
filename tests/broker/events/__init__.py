"""Tests of broker.events."""

"""Tests of broker.nats."""

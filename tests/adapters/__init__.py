"""Tests of the adapters, against a real nats-server."""

"""Shared parts of the tests: a real nats-server, worlds, a guard against blocking calls."""

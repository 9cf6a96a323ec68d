"""Emitted events: stored, delivered at least once, and kept as dead letters if that fails."""

import broker.nats  # noqa: F401 - before nats-py, so that it does not load aiohttp

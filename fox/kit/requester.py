"""The connections that a component at work needs: NATS in a pod, memory in a unit test."""

from __future__ import annotations

from typing import Protocol

from broker.nats.requester import BodyRequester
from broker.streams.registry import StreamRegistry


class StreamingRequester(BodyRequester, Protocol):
    """A requester with the streams of its process."""

    @property
    def streams(self) -> StreamRegistry:
        """The streams to and from this process."""


class EventStore(Protocol):
    """Stores events until they are handled; see ``broker.events.remote_outbox``."""

    async def store(self, target: str, frame: bytes, *, timeout_s: float) -> bool:
        """Store an event for a component version, and return whether it is new.

        Raises:
            FoxError: The event is not stored.
        """

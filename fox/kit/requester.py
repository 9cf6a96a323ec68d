"""What a component at work needs of its surroundings: NATS in a pod, memory in a unit test."""

from __future__ import annotations

from typing import Protocol

from broker.stream import Outgoing
from broker.streams import Streams


class Requester(Protocol):
    """Sends one frame and brings one back; ``broker.bus.Bus`` is the real one."""

    async def request(self, subject: str, payload: bytes, timeout_s: float) -> bytes:
        """Return the reply's frame; raise the FoxError that stopped it."""


class StreamingRequester(Requester, Protocol):
    """Carries bodies of any length besides."""

    @property
    def streams(self) -> Streams:
        """Bodies on their way to this process, and from it."""

    async def request(
        self, subject: str, payload: bytes, timeout_s: float, body: Outgoing | None = None
    ) -> bytes:
        """Return the reply's frame; the body is sent meanwhile, see ``Bus.request``."""


class EventStore(Protocol):
    """Keeps events until they are handled; ``broker.outbox.Outbox`` is the real one."""

    async def store(
        self, subject: str, frame: bytes, *, deduplication_id: str = "", timeout_s: float
    ) -> bool:
        """Return whether an event was new; raise the FoxError that stopped it from being kept."""

"""The protocols of senders of requests; ``broker.nats.bus.Bus`` implements them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from broker.streams.outgoing import OutgoingStream


class Requester(Protocol):
    """Sends one frame and returns the reply."""

    async def request(self, subject: str, payload: bytes, timeout_s: float) -> bytes:
        """Return the reply's frame.

        Raises:
            FoxError: The request failed.
        """


class GatheringRequester(Requester, Protocol):
    """Sends one message to one receiver, or to all of them."""

    async def gather(
        self,
        subject: str,
        payload: bytes,
        wait_s: float,
        *,
        is_last: Callable[[bytes], bool] | None = None,
    ) -> list[bytes]:
        """Return the replies that come within ``wait_s``; see ``Bus.gather``.

        Raises:
            NatsUnavailable: The connection is down.
        """


class BodyRequester(Requester, Protocol):
    """Sends one frame, also with a body of any length, and returns the reply."""

    @property
    def is_clustered(self) -> bool:
        """Whether there is more than one server to connect to."""

    async def wait_ready(self, timeout_s: float) -> bool:
        """Return whether there is a connection within ``timeout_s``."""

    async def request(
        self, subject: str, payload: bytes, timeout_s: float, body: OutgoingStream | None = None
    ) -> bytes:
        """Return the reply's frame, and send the body meanwhile; see ``Bus.request``.

        Raises:
            FoxError: The request failed.
        """

"""The buckets of the state store's data: one for each virtual environment that ever had some."""

from __future__ import annotations

import contextlib

from nats.js.errors import NotFoundError

from broker.bus import Bus
from broker.jetstream import reported

PREFIX = "kubefox-state-"
_STREAM_PREFIX = f"KV_{PREFIX}"


def bucket_of(virtual_environment: str) -> str:
    """Return the name of a virtual environment's bucket."""
    return f"{PREFIX}{virtual_environment}"


class StateBuckets:
    """All of them, as whoever clears up sees them.

    Args:
        bus: Connection to use.
    """

    def __init__(self, bus: Bus) -> None:
        """Keep the connection; nothing is opened or closed."""
        self._bus = bus

    async def sizes(self) -> dict[str, int]:
        """Return the bytes that each bucket takes, by its virtual environment.

        Raises:
            NatsUnavailable: NATS does not answer.
        """
        found: dict[str, int] = {}
        offset = 0
        with reported(self._bus, "list the state store's buckets"):
            # A page at a time: the server says no more at once than it likes to.
            while page := await self._bus.jetstream().streams_info(offset):
                offset += len(page)
                for stream in page:
                    name = stream.config.name or ""
                    if name.startswith(_STREAM_PREFIX):
                        found[name.removeprefix(_STREAM_PREFIX)] = stream.state.bytes
        return found

    async def delete(self, virtual_environment: str) -> None:
        """Delete one, and all data in it; one that does not exist is no error.

        Raises:
            NatsUnavailable: NATS does not answer.
        """
        name = bucket_of(virtual_environment)
        with reported(self._bus, f"delete bucket {name}"), contextlib.suppress(NotFoundError):
            await self._bus.jetstream().delete_stream(f"KV_{name}")

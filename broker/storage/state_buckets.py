"""The buckets of the state store: one for each virtual environment that has stored data."""

from __future__ import annotations

import contextlib

from nats.js.errors import NotFoundError

from broker.nats.bus import Bus
from broker.nats.jetstream import translated_errors

PREFIX = "kubefox-state-"
_STREAM_PREFIX = f"KV_{PREFIX}"


def bucket_of(virtual_environment: str) -> str:
    """Return the name of a virtual environment's bucket."""
    return f"{PREFIX}{virtual_environment}"


class StateBuckets:
    """Lists and deletes the buckets of all virtual environments.

    Args:
        bus: Connection to use.
    """

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def sizes(self) -> dict[str, int]:
        """Return the size of each bucket in bytes, by virtual environment.

        Raises:
            NatsUnavailable: NATS does not answer.
        """
        found: dict[str, int] = {}
        offset = 0
        with translated_errors(self._bus, "list the state store's buckets"):
            # The server limits the number of streams in one answer.
            while page := await self._bus.jetstream().streams_info(offset):
                offset += len(page)
                for stream in page:
                    name = stream.config.name or ""
                    if name.startswith(_STREAM_PREFIX):
                        found[name.removeprefix(_STREAM_PREFIX)] = stream.state.bytes
        return found

    async def delete(self, virtual_environment: str) -> None:
        """Delete the bucket of a virtual environment with all its data, if it exists.

        Raises:
            NatsUnavailable: NATS does not answer.
        """
        name = bucket_of(virtual_environment)
        with (
            translated_errors(self._bus, f"delete bucket {name}"),
            contextlib.suppress(NotFoundError),
        ):
            await self._bus.jetstream().delete_stream(f"KV_{name}")

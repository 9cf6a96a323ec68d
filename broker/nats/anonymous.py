"""Whether a NATS server lets in clients without credentials."""

from __future__ import annotations

import asyncio
import contextlib

from nats.aio.client import Client
from nats.errors import Error as NatsError

_TRY_S = 2
_PAUSE_S = 0.05


async def lets_anybody_in(url: str) -> bool:
    """Return whether a server accepts a client without credentials; False if none answers.

    Args:
        url: ``nats://[user:password@]host:port``, several separated by commas.
    """
    client = Client()

    async def ignore(_error: Exception) -> None:
        """The answer is what matters."""

    try:
        # nats-py tries a server again that refuses connections, for two minutes.
        async with asyncio.timeout(_TRY_S):
            await client.connect(
                servers=[_without_credentials(server) for server in url.split(",")],
                allow_reconnect=False,
                reconnect_time_wait=_PAUSE_S,  # type: ignore[arg-type]
                max_reconnect_attempts=1,
                error_cb=ignore,
            )
    except (NatsError, OSError, TimeoutError):
        return False
    finally:
        with contextlib.suppress(NatsError, OSError, AssertionError):
            await client.close()
    return True


def _without_credentials(server: str) -> str:
    scheme, separator, address = server.rpartition("://")
    return f"{scheme}{separator}{address.rpartition('@')[2]}"

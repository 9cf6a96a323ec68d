"""Connections to NATS that are left of pods that have ended, where the platform cannot end them."""

from __future__ import annotations

import logging
from collections.abc import Collection
from contextlib import suppress

from broker.nats.bus import Bus
from broker.nats.user_connections import connections_of
from kubefox.errors import NatsUnavailable

logger = logging.getLogger(__name__)


async def report_left(bus: Bus, users: Collection[str]) -> None:
    """Log the users of ended pods that still have connections; a ``pods.logins.Revoke``.

    Args:
        bus: Of this process.
        users: Public keys.
    """
    # A connection that breaks cannot be made again, so none is left while NATS is away.
    with suppress(NatsUnavailable):
        for user in users:
            left = await connections_of(bus, user)
            if left:
                logger.warning(
                    "NATS user %s is still connected from %s, and its component version is gone: "
                    "code of that version has logged in elsewhere. Restart the NATS server, or "
                    "revoke the user",
                    user,
                    ", ".join(sorted({connection.ip for connection in left})),
                )

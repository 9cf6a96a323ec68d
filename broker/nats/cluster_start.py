"""Waits until a NATS cluster that is being started has a leader.

Until a majority of the servers have found each other, JetStream answers nothing. A platform that is
started together with its cluster waits for that instead of failing.
"""

from __future__ import annotations

import logging
from typing import Any

import msgspec

from broker.nats.bus import Bus
from kubefox.errors import DeadlineExceeded

logger = logging.getLogger(__name__)

_ANSWER_S = 2.0
_LOG_EVERY = 5
# "JetStream system temporarily unavailable", "JetStream cluster can not handle request"
_NO_LEADER = (10008, 10009)


async def wait_for_leader(bus: Bus, stream: str) -> None:
    """Return when JetStream answers for a stream, whether that exists or not.

    Raises:
        NoPodReady: The server has no JetStream.
        NatsUnavailable: The connection is lost.
    """
    attempts = 0
    while not await _has_leader(bus, stream):
        if attempts % _LOG_EVERY == 0:
            logger.warning(
                "waiting for NATS: JetStream does not answer. A cluster needs a majority of its "
                "servers; start more of them"
            )
        attempts += 1


async def _has_leader(bus: Bus, stream: str) -> bool:
    try:
        answer = await bus.request(f"$JS.API.STREAM.INFO.{stream}", b"", _ANSWER_S)
    except DeadlineExceeded:
        return False
    error = msgspec.json.decode(answer, type=dict[str, Any]).get("error") or {}
    return error.get("err_code") not in _NO_LEADER

"""How many servers of a NATS cluster have JetStream.

Each server answers for the account of the platform. The addresses that a server tells its clients
would not do: they may name one server several times, or not at all.
"""

from __future__ import annotations

import msgspec

from broker.nats.bus import Bus
from kubefox.decoding import DECODE_ERRORS

SUBJECT = "$SYS.REQ.ACCOUNT.PING.STATZ"
_WAIT_S = 0.5
# A server without a client of the account answers only if it is asked to.
_REQUEST = msgspec.json.encode({"include_unused": True})


class _Server(msgspec.Struct):
    id: str
    jetstream: bool = False


class _Answer(msgspec.Struct):
    server: _Server


_decode = msgspec.json.Decoder(_Answer).decode


async def count_servers(bus: Bus) -> int:
    """Return how many servers with JetStream answer at once; 0 if this process may not ask.

    Raises:
        NatsUnavailable: The connection is down.
    """
    answers = await bus.gather(SUBJECT, _REQUEST, _WAIT_S)
    servers = [_server(answer) for answer in answers]
    return len({server.id for server in servers if server is not None and server.jetstream})


def _server(answer: bytes) -> _Server | None:
    try:
        return _decode(answer).server
    except DECODE_ERRORS:
        return None

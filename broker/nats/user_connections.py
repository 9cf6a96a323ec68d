"""The connections of one user of the account, as the NATS servers list them.

nats-server lets each account ask for its own connections, without the system account. See
https://docs.nats.io/running-a-nats-service/configuration/sys_accounts.
"""

from __future__ import annotations

import msgspec

from broker.nats.bus import Bus

_SUBJECT = "$SYS.REQ.ACCOUNT.PING.CONNZ"
_WAIT_S = 1.0
"""Each server of a cluster answers, and none tells how many there are."""
_MOST = 16
"""Connections that a server lists: with the claims of its user, each may take 32 KiB."""


class UserConnection(msgspec.Struct, frozen=True, kw_only=True):
    """One connection.

    Attributes:
        ip: Address of the client.
        cid: Id of the connection at its server.
    """

    ip: str
    cid: int


class _Connections(msgspec.Struct, frozen=True, kw_only=True):
    connections: tuple[UserConnection, ...] = ()


class _Answer(msgspec.Struct, frozen=True, kw_only=True):
    data: _Connections = _Connections()


_decode = msgspec.json.Decoder(_Answer).decode


async def connections_of(bus: Bus, user: str) -> list[UserConnection]:
    """Return connections of a user, up to 16 of each server.

    Args:
        bus: Of a process that may ask.
        user: Public key of the user.

    Raises:
        NatsUnavailable: The connection is down.
    """
    asked = msgspec.json.encode({"auth": True, "user": user, "limit": _MOST})
    answers = await bus.gather(_SUBJECT, asked, _WAIT_S)
    return [found for answer in answers for found in _decode(answer).data.connections]

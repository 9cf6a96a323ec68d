"""The connections of one user of NATS can be listed without the system account."""

from __future__ import annotations

from broker.nats.access import Access
from broker.nats.credentials import permissions
from broker.nats.credentials.claims import ALL
from broker.nats.credentials.nkeys import KeyKind, KeyPair
from broker.nats.credentials.permissions import Role
from broker.nats.user_connections import connections_of
from tests.support.nats import NatsServer
from tests.support.platform_nats import connect


async def test_a_pod_runner_sees_the_connections_of_one_user(
    own_secured_nats_server: NatsServer,
) -> None:
    user, other = KeyPair.generate(KeyKind.USER), KeyPair.generate(KeyKind.USER)
    assert own_secured_nats_server.keys is not None
    access = Access(own_secured_nats_server.url, own_secured_nats_server.keys.account_key)
    rights = permissions.for_platform([Role.PODS], "runner-1")

    async with (
        connect(access.login("pod-1", ALL, user)),
        connect(access.login("pod-2", ALL, user)),
        connect(access.login("runner-1", rights)) as bus,
    ):
        found = await connections_of(bus, user.public)
        none = await connections_of(bus, other.public)

    assert [connection.ip for connection in found] == ["127.0.0.1"] * 2
    assert none == []

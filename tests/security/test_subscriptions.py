"""A pod cannot fill the memory of the server of NATS with subscriptions."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from broker.nats.credentials.permissions import MAX_POD_SUBSCRIPTIONS, for_pod
from fox.nats_keys import open_nats_keys
from kubefox.senders import Sender
from tests.support.nats import NatsServer
from tests.support.platform_nats import connect

FEW = 20
RIGHTS = for_pod("evil-1", "evil", Sender("shop", "evil@1"), ())


@pytest.fixture
def server(tmp_path: Path) -> Iterator[NatsServer]:
    keys = open_nats_keys(tmp_path)
    with NatsServer(tmp_path, keys.config, keys) as running:
        yield running


async def test_the_server_refuses_more_subscriptions_than_a_pod_needs(server: NatsServer) -> None:
    few = msgspec.structs.replace(RIGHTS, max_subscriptions=FEW)
    login = server.login("evil-1", few)
    received: list[bytes] = []

    async def note(payload: bytes, _reply: str) -> None:
        received.append(payload)

    async with connect(login) as pod:
        for number in range(2 * FEW):
            await pod.serve(f"reply.evil-1.stream.{number}", note)
        for number in (0, 2 * FEW - 1):
            await pod.publish(f"reply.evil-1.stream.{number}", str(number).encode())
        await pod.flush()
        await pod.flush()

    assert RIGHTS.max_subscriptions == MAX_POD_SUBSCRIPTIONS
    assert received == [b"0"]

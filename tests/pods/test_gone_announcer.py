"""Whom the notice of a dead pod asks for the requests that may have been with it."""

from __future__ import annotations

import asyncio

from broker.nats.bus import Bus
from broker.storage.pod_board import open_pod_board
from kubefox.distill import Version
from kubefox.errors import ComponentGone
from kubefox.pod import PodPhase, PodStatus
from pods.gone_announcer import GoneAnnouncer
from tests.support.nats import NatsServer
from tests.support.receiving import FOREVER_S
from tests.support.waiting_pod import BY_TEST, WaitingPod, frame, serving

DEAD = PodStatus(
    id="dead", app="shop", component="api", hash="a" * 32, phase=PodPhase.READY, runner="test"
)


async def test_the_requests_of_a_successor_in_a_rolling_update_are_not_failed(
    bus: Bus, own_nats_server: NatsServer
) -> None:
    dead, successor = WaitingPod(DEAD.nats_id), WaitingPod("successor")

    def pods_of(version: Version) -> tuple[str, ...]:
        assert version == DEAD.version
        return (dead.name, successor.name)

    async with (
        open_pod_board(bus) as board,
        serving(own_nats_server.url, dead),
        serving(own_nats_server.url, successor),
    ):
        requests = [
            asyncio.create_task(bus.request(BY_TEST, frame(), FOREVER_S)) for _ in range(40)
        ]
        while dead.held + successor.held < len(requests):
            await asyncio.sleep(0.001)

        await GoneAnnouncer(bus, board, {}, pods_of).announce(DEAD)
        await asyncio.wait(requests, return_when=asyncio.FIRST_EXCEPTION)
        successor.released.set()
        results = await asyncio.gather(*requests, return_exceptions=True)
        dead.released.set()

    answers = [each for each in results if isinstance(each, bytes)]
    assert len(answers) == successor.held > 0
    assert sum(isinstance(each, ComponentGone) for each in results) == dead.held > 0

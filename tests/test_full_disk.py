"""A full disk: the error of a refused write names it, and NATS restarts when there is free space.

No disk is filled: a limit on the size of files makes nats-server fail in the same way.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
from collections.abc import AsyncIterator, Iterator
from functools import partialmethod
from pathlib import Path

import pytest

from broker.nats import bus as buses
from broker.nats.bus import Bus
from broker.nats.cluster_jetstream import ClusterJetStream
from broker.nats.credentials.claims import ALL
from broker.storage.bundles import Bundles, open_bundles
from broker.storage.store import open_store
from fox.nats_server import NatsServer, run_nats_server
from kubefox.environment import Environment, EnvironmentData
from kubefox.errors import NatsUnavailable
from tests.support.keys import KEYS
from tests.support.nats import ANSWER_S

LIMIT_BYTES = 100_000
SMALL, LARGE = os.urandom(1_000), os.urandom(3 * LIMIT_BYTES)
BEFORE, REFUSED = "a" * 32, "b" * 32


class Disk:
    """The disk of the server, full or not."""

    def __init__(self) -> None:
        self.has_room = True

    def fill(self, server: NatsServer) -> None:
        self.has_room = False
        resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (LIMIT_BYTES, LIMIT_BYTES))


@pytest.fixture
def disk() -> Disk:
    return Disk()


@pytest.fixture
async def server(disk: Disk, tmp_path: Path) -> AsyncIterator[NatsServer]:
    async with run_nats_server(
        tmp_path, has_free_space=lambda _folder: disk.has_room, disk_check_s=0.05
    ) as server:
        yield server


@pytest.fixture
async def bus(server: NatsServer) -> AsyncIterator[Bus]:
    login = server.access.login("one", ALL)
    connecting = buses.connect(
        login.url,
        process_id=login.process_id,
        credentials=login.credentials,
        jetstream_timeout_s=ANSWER_S,
    )
    async with connecting as bus:
        yield bus


@pytest.fixture
async def bundles(bus: Bus) -> Bundles:
    return await open_bundles(bus)


@contextlib.contextmanager
def unacknowledged() -> Iterator[None]:
    """Wait only briefly for the acknowledgement of each write: a full disk gives none."""
    briefly = partialmethod(ClusterJetStream.publish, timeout=0.5)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ClusterJetStream, "publish", briefly)
        yield


async def wait_for_writes(server: NatsServer, bus: Bus) -> None:
    while not (server.is_writable and bus.is_ready):
        await asyncio.sleep(0.01)


async def test_the_error_of_a_full_disk_names_the_cause_and_the_cure(
    server: NatsServer, disk: Disk, bundles: Bundles
) -> None:
    disk.fill(server)

    with (
        unacknowledged(),
        pytest.raises(NatsUnavailable, match=r"file too large.*make room on its disk"),
    ):
        await bundles.put(REFUSED, LARGE)

    assert not server.is_writable
    assert not bundles.is_writable


async def test_nats_restarts_with_its_data_when_the_disk_has_free_space(
    server: NatsServer, disk: Disk, bundles: Bundles, bus: Bus
) -> None:
    await bundles.put(BEFORE, SMALL)
    first, url = server.pid, server.url
    disk.fill(server)
    with unacknowledged(), pytest.raises(NatsUnavailable):
        await bundles.put(REFUSED, LARGE)

    disk.has_room = True
    await wait_for_writes(server, bus)
    await bundles.put(REFUSED, LARGE)

    assert server.pid != first
    assert server.url == url
    assert not server.exited.done()
    assert bundles.is_writable
    assert await bundles.get(BEFORE) == SMALL
    assert await bundles.get(REFUSED) == LARGE


async def test_a_refused_write_makes_the_store_not_writable_for_a_time(
    server: NatsServer, disk: Disk, bus: Bus
) -> None:
    async with open_store(bus, KEYS, creates_keys=True) as store:
        disk.fill(server)
        data = EnvironmentData(vars={"large": "x" * LIMIT_BYTES})
        with unacknowledged(), pytest.raises(NatsUnavailable, match="make room on its disk"):
            await store.create("environment.dev", Environment(name="dev", data=data))

        assert not store.is_writable
        store._writes.forget_failure_s = 0
        assert store.is_writable


async def test_a_server_that_dies_while_its_disk_is_full_is_not_restarted(
    server: NatsServer, disk: Disk, bundles: Bundles
) -> None:
    disk.fill(server)
    with unacknowledged(), pytest.raises(NatsUnavailable):
        await bundles.put(REFUSED, LARGE)

    await server.stop()
    await server.exited

    assert not server.is_writable

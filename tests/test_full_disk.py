"""A disk that was full: what NATS refuses is told, and it goes on when there is room again.

No disk is filled: a limit on the size of files makes nats-server fail in the same way.
"""

from __future__ import annotations

import asyncio
import os
import resource
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from broker import bus as buses
from broker import jetstream
from broker.bundles import Bundles, open_bundles
from broker.bus import Bus
from broker.store import open_store
from fox import nats_server
from fox.nats_server import NatsServer, run_nats_server
from model.environment import Environment, EnvironmentData
from model.errors import NatsUnavailable

LIMIT_BYTES = 100_000
SMALL, LARGE = os.urandom(1_000), os.urandom(3 * LIMIT_BYTES)
BEFORE, REFUSED = "a" * 32, "b" * 32


class Disk:
    """Where the server's files lie, as it sees it."""

    def __init__(self) -> None:
        self.has_room = True

    def fill(self, server: NatsServer) -> None:
        self.has_room = False
        resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (LIMIT_BYTES, LIMIT_BYTES))


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    disk = Disk()
    monkeypatch.setattr(nats_server, "_has_room", lambda _folder: disk.has_room)
    monkeypatch.setattr(nats_server, "ROOM_S", 0.05)
    # An acknowledgement that does not come is waited for so long.
    monkeypatch.setattr(buses, "_JETSTREAM_TIMEOUT_S", 0.5)
    return disk


@pytest.fixture
async def server(disk: Disk, tmp_path: Path) -> AsyncIterator[NatsServer]:
    async with run_nats_server(tmp_path) as server:
        yield server


@pytest.fixture
async def bus(server: NatsServer) -> AsyncIterator[Bus]:
    async with buses.connect(server.url, process_id="test") as bus:
        yield bus


@pytest.fixture
async def bundles(bus: Bus) -> Bundles:
    return await open_bundles(bus)


async def wait_for_writes(server: NatsServer, bus: Bus) -> None:
    while not (server.takes_writes and bus.is_ready):
        await asyncio.sleep(0.01)


async def test_what_a_full_disk_refuses_names_the_cause_and_the_cure(
    server: NatsServer, disk: Disk, bundles: Bundles
) -> None:
    disk.fill(server)

    with pytest.raises(NatsUnavailable, match=r"file too large.*make room on its disk"):
        await bundles.put(REFUSED, LARGE)

    assert not server.takes_writes
    assert not bundles.takes_writes


async def test_when_there_is_room_again_nats_goes_on_with_all_it_had(
    server: NatsServer, disk: Disk, bundles: Bundles, bus: Bus
) -> None:
    await bundles.put(BEFORE, SMALL)
    first, url = server.pid, server.url
    disk.fill(server)
    with pytest.raises(NatsUnavailable):
        await bundles.put(REFUSED, LARGE)

    disk.has_room = True
    await wait_for_writes(server, bus)
    await bundles.put(REFUSED, LARGE)

    assert server.pid != first
    assert server.url == url
    assert not server.exited.done()
    assert bundles.takes_writes
    assert await bundles.get(BEFORE) == SMALL
    assert await bundles.get(REFUSED) == LARGE


async def test_a_record_that_is_not_taken_shows_until_nobody_knows_any_more(
    server: NatsServer, disk: Disk, bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_store(bus) as store:
        disk.fill(server)
        data = EnvironmentData(vars={"large": "x" * LIMIT_BYTES})
        with pytest.raises(NatsUnavailable, match="make room on its disk"):
            await store.create("environment.dev", Environment(name="dev", data=data))

        assert not store.takes_writes
        monkeypatch.setattr(jetstream, "FORGET_S", 0)
        assert store.takes_writes


async def test_a_server_that_dies_while_its_disk_is_full_is_not_started_anew(
    server: NatsServer, disk: Disk, bundles: Bundles
) -> None:
    disk.fill(server)
    with pytest.raises(NatsUnavailable):
        await bundles.put(REFUSED, LARGE)

    await server.stop()
    await server.exited

    assert not server.takes_writes

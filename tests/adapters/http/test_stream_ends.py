"""What ends a stream early, on real sockets: it leaves nothing behind anywhere."""

from __future__ import annotations

import asyncio
import socket

import pytest

from adapters.http import connection
from tests.adapters.http.raw import ask, connect
from tests.adapters.http.streaming import GET, POST, SOON_S, World, open_world
from tests.support.garbage import leaves_no_frame_of
from tests.support.nats import NatsServer


async def test_a_client_that_leaves_ends_the_generator(world: World) -> None:
    async with connect(world.port) as connection:
        await connection.send(GET % b"/endless")
        assert (await connection.read_head()).status == 200
        await connection._reader.readuntil(b"more")
        assert world.broker.in_flight == 1

    async with asyncio.timeout(SOON_S):
        await world.signs.ended.wait()


async def test_a_client_that_leaves_ends_the_generators_of_all_components(world: World) -> None:
    async with connect(world.port) as connection:
        await connection.send(GET % b"/via")
        assert (await connection.read_head()).status == 200
        await connection._reader.readuntil(b"more")

    async with asyncio.timeout(SOON_S):
        await world.signs.ended.wait()


async def test_a_client_that_leaves_in_mid_body_leaves_nothing_behind(world: World) -> None:
    with leaves_no_frame_of("adapters/http"):
        async with connect(world.port) as connection:
            await connection.send(POST % b"/read/echo" + b"Content-Length: 9000000\r\n\r\nabc")
            await connection.read_head()
        await world.wait_idle()
        await ask(world.port, GET % b"/size")


async def test_a_stream_without_progress_ends_on_both_ends(own_nats_server: NatsServer) -> None:
    async with open_world(own_nats_server.url, stream_idle_s=0.2) as world:
        async with connect(world.port) as connection:
            await connection.send(GET % b"/endless")
            await connection.read_head()
            body = await connection.wait_closed()
        await world.wait_idle()

    assert body == b"4\r\nmore\r\n"
    assert world.signs.ended.is_set()


async def test_a_nats_that_restarts_cuts_all_streams_and_leaves_none(
    world: World, own_nats_server: NatsServer
) -> None:
    async with connect(world.port) as down, connect(world.port) as up:
        await down.send(GET % b"/via")
        await down._reader.readuntil(b"more")
        await up.send(POST % b"/read/echo" + b"Content-Length: 9000000\r\n\r\nabc")
        await up.read_head()

        await asyncio.to_thread(own_nats_server.restart)
        async with asyncio.timeout(SOON_S):
            assert not (await down.wait_closed()).endswith(b"0\r\n\r\n")
            assert not (await up.wait_closed()).endswith(b"0\r\n\r\n")
        await world.wait_idle()

    assert world.signs.ended.is_set()


async def test_leaving_lets_a_stream_end_and_cuts_what_does_not(
    own_nats_server: NatsServer,
) -> None:
    async with open_world(own_nats_server.url, drain_s=0.2) as world:
        async with connect(world.port) as connection:
            await connection.send(GET % b"/endless")
            await connection._reader.readuntil(b"more")
            await world.adapter.__aexit__(None, None, None)
            body = await connection.wait_closed()
        await world.wait_idle()

    assert not body.endswith(b"0\r\n\r\n")
    assert world.signs.ended.is_set()


async def test_a_client_that_takes_nothing_is_given_up(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "TOUCH_S", 0.02)
    monkeypatch.setattr(connection, "WRITE_S", 0.1)
    async with connect(world.port) as slow:
        await slow.send(GET % b"/bytes/64000000")
        await slow.read_head()
        await world.wait_idle()


async def test_a_client_that_takes_little_but_something_is_served_on(
    own_nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "TOUCH_S", 0.02)
    async with open_world(own_nats_server.url, stream_idle_s=0.4) as world:
        now_s = asyncio.get_running_loop().time
        begun_s = now_s()
        with socket.socket() as small:
            # With the kernel's megabytes in between, the server would see nothing of it for long.
            small.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 * 1024)
            small.connect(("127.0.0.1", world.port))
            reader, writer = await asyncio.open_connection(sock=small, limit=16 * 1024)
            writer.write(GET % b"/bytes/64000000")
            while now_s() < begun_s + 1.2:
                await reader.readexactly(4_000)
                await asyncio.sleep(0.005)
            assert world.broker.in_flight == 1
            writer.close()
        await world.wait_idle()

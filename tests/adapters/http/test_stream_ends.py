"""Streams that end early, on real sockets: no stream and no event is left in any process."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import Any

import msgspec
import pytest

from broker.streams.incoming import IncomingStream
from broker.streams.outgoing import OutgoingStream
from broker.streams.registry import StreamRegistry
from tests.adapters.http.limits import DEFAULTS, with_limits
from tests.adapters.http.raw import ask, connect
from tests.adapters.http.streaming import GET, POST, SOON_S, StreamingWorld, open_streaming_world
from tests.support.garbage import leaves_no_frame_of
from tests.support.nats import NatsServer


async def test_a_client_that_disconnects_ends_the_generator(streaming: StreamingWorld) -> None:
    async with connect(streaming.port) as connection:
        await connection.send(GET % b"/endless")
        assert (await connection.read_head()).status == 200
        await connection.read_until(b"more")
        assert streaming.broker.in_flight == 1

    async with asyncio.timeout(SOON_S):
        await streaming.signals.ended.wait()


async def test_a_client_that_disconnects_ends_the_generators_of_all_components(
    streaming: StreamingWorld,
) -> None:
    async with connect(streaming.port) as connection:
        await connection.send(GET % b"/via")
        assert (await connection.read_head()).status == 200
        await connection.read_until(b"more")

    async with asyncio.timeout(SOON_S):
        await streaming.signals.ended.wait()


async def test_a_client_that_disconnects_during_its_body_leaks_no_memory(
    streaming: StreamingWorld,
) -> None:
    with leaves_no_frame_of("adapters/http"):
        async with connect(streaming.port) as connection:
            await connection.send(POST % b"/read/echo" + b"Content-Length: 9000000\r\n\r\nabc")
            await connection.read_head()
        await streaming.wait_idle()
        await ask(streaming.port, GET % b"/size")


async def test_a_client_that_leaves_during_a_body_that_is_not_read_is_not_waited_for(
    streaming: StreamingWorld,
) -> None:
    async with connect(streaming.port) as connection:
        await connection.send(POST % b"/read/wait" + b"Transfer-Encoding: chunked\r\n\r\n1\r\na")
        await streaming.signals.begun.wait()
        assert streaming.broker.in_flight == 1

    async with asyncio.timeout(SOON_S):
        while streaming.broker.in_flight:
            await asyncio.sleep(0.01)
    assert not streaming.signals.ended.is_set()
    streaming.signals.next_chunk.set()


async def test_the_idle_timeout_ends_a_stream_on_both_ends(own_nats_server: NatsServer) -> None:
    async with open_streaming_world(own_nats_server.url, stream_idle_s=SOON_S) as streaming:
        streams = streaming.broker.bus.streams
        assert streams.idle_timeout_s == SOON_S
        streams.ping_after_s = 0.05  # how soon the progress is checked for the first time
        async with connect(streaming.port) as connection:
            await connection.send(GET % b"/endless")
            await connection.read_until(b"4\r\nmore\r\n")
            streams.idle_timeout_s = 0.2
            rest = await connection.wait_closed()
        await streaming.wait_idle()

    assert rest == b""
    assert streaming.signals.ended.is_set()


async def test_a_restart_of_nats_cuts_all_streams(
    streaming: StreamingWorld, own_nats_server: NatsServer
) -> None:
    async with connect(streaming.port) as down, connect(streaming.port) as up:
        await down.send(GET % b"/via")
        await down.read_until(b"more")
        await up.send(POST % b"/read/echo" + b"Content-Length: 9000000\r\n\r\nabc")
        await up.read_head()

        await asyncio.to_thread(own_nats_server.restart)
        async with asyncio.timeout(SOON_S):
            assert not (await down.wait_closed()).endswith(b"0\r\n\r\n")
            assert not (await up.wait_closed()).endswith(b"0\r\n\r\n")
        await streaming.wait_idle()

    assert streaming.signals.ended.is_set()


async def test_closing_cuts_a_stream_that_does_not_end_in_the_drain_time(
    own_nats_server: NatsServer,
) -> None:
    async with open_streaming_world(
        own_nats_server.url, msgspec.structs.replace(DEFAULTS, drain_timeout_s=0.2)
    ) as streaming:
        async with connect(streaming.port) as connection:
            await connection.send(GET % b"/endless")
            await connection.read_until(b"more")
            await streaming.adapter.__aexit__(None, None, None)
            body = await connection.wait_closed()
        await streaming.wait_idle()

    assert not body.endswith(b"0\r\n\r\n")
    assert streaming.signals.ended.is_set()


@with_limits(write_progress_s=0.02, write_timeout_s=0.1)
async def test_a_client_that_reads_nothing_is_aborted_after_the_write_timeout(
    streaming: StreamingWorld,
) -> None:
    async with connect(streaming.port) as slow:
        await slow.send(GET % b"/bytes/64000000")
        await slow.read_head()
        await streaming.wait_idle()


@with_limits(write_progress_s=0.02)
async def test_a_client_that_reads_slowly_keeps_its_stream(
    streaming: StreamingWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[OutgoingStream] = []
    reported: list[IncomingStream] = []
    open_outgoing, report = StreamRegistry.open_outgoing, IncomingStream.report_progress

    def note_opened(*args: Any, **options: Any) -> OutgoingStream:
        opened.append(open_outgoing(*args, **options))
        return opened[-1]

    def note_report(incoming: IncomingStream) -> None:
        reported.append(incoming)
        report(incoming)

    monkeypatch.setattr(StreamRegistry, "open_outgoing", note_opened)
    monkeypatch.setattr(IncomingStream, "report_progress", note_report)
    with socket.socket() as small:
        # With its default size, the kernel would buffer megabytes before the server waits.
        small.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 * 1024)
        small.connect(("127.0.0.1", streaming.port))
        reader, writer = await asyncio.open_connection(sock=small, limit=16 * 1024)
        writer.write(GET % b"/bytes/64000000")
        with contextlib.closing(writer):
            while len(reported) < 5:
                await reader.readexactly(16_000)
                await asyncio.sleep(0.005)
            # Neither end of the stream has been without progress since.
            (sending,) = opened
            async with asyncio.timeout(SOON_S):
                while sending.progress_s < reported[-1].progress_s:
                    await asyncio.sleep(0)
            assert streaming.broker.in_flight == 1
    await streaming.wait_idle()

"""Clients that read too slowly are cut off, and those that wait for data are not."""

from __future__ import annotations

import asyncio

import pytest

from adapters.http.reader_watch import ReaderWatch
from tests.adapters.http.limits import with_limits
from tests.adapters.http.raw import Connection, connect
from tests.adapters.http.streaming import GET, SOON_S, StreamingWorld


async def wait_in_flight(streaming: StreamingWorld, count: int) -> None:
    async with asyncio.timeout(SOON_S):
        while streaming.broker.in_flight != count:
            await asyncio.sleep(0.005)


@with_limits(write_timeout_s=0.2, write_progress_s=0.02)
async def test_a_quiet_stream_outlives_a_client_that_does_not_read(
    streaming: StreamingWorld, caplog: pytest.LogCaptureFixture
) -> None:
    async with connect(streaming.port) as quiet, connect(streaming.port) as stalled:
        await quiet.send(GET % b"/endless")
        await quiet.read_until(b"more\r\n")
        await stalled.send(GET % b"/bytes/64000000")
        await stalled.read_head()
        await wait_in_flight(streaming, 1)

        streaming.signals.next_chunk.set()
        assert await quiet.read_until(b"more\r\n") == b"4\r\nmore\r\n"

    assert "the client did not read its response" in caplog.text


@with_limits(write_timeout_s=0.2, write_progress_s=0.02, min_bytes_per_s=1e12)
async def test_a_client_that_reads_below_the_minimum_rate_is_cut_off_though_it_never_pauses(
    streaming: StreamingWorld,
) -> None:
    async with connect(streaming.port) as slow:
        await slow.send(GET % b"/bytes/2000000000")
        await slow.read_head()
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await read_slowly(slow)
        await streaming.wait_idle()


async def read_slowly(client: Connection) -> None:
    """Read a body without an end in small parts."""
    while True:
        await client.read_some(10_000)
        await asyncio.sleep(0.001)


@with_limits(stream_max_s=3_600, write_progress_s=0.02)
async def test_a_response_that_streams_for_too_long_is_cut_off(
    streaming: StreamingWorld,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    watches: list[ReaderWatch] = []
    enter = ReaderWatch.__enter__

    def note(self: ReaderWatch) -> ReaderWatch:
        watches.append(self)
        return enter(self)

    monkeypatch.setattr(ReaderWatch, "__enter__", note)
    async with connect(streaming.port) as client:
        await client.send(GET % b"/endless")
        await client.read_until(b"4\r\nmore\r\n")
        (watch,) = watches
        watch._end_s -= 3_600
        rest = await client.wait_closed()
        await streaming.wait_idle()

    assert rest == b""
    assert "the response was open for 3600 s" in caplog.text

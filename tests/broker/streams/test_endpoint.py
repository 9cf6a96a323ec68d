"""Streams between two processes on a real nats-server."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest

from broker.nats import bus as buses
from broker.nats.bus import Bus
from broker.nats.gone_pods import PodGone, encode_notice
from broker.streams.registry import MOST_CHECKED
from kubefox import stream as protocol
from kubefox import subjects
from kubefox.errors import (
    ComponentGone,
    DeadlineExceeded,
    InvalidEvent,
    NatsUnavailable,
    StreamBroken,
)
from kubefox.stream import MIN_WINDOW_BYTES, WINDOW_BYTES, FrameKind
from tests.broker.streams.pairs import API, opened, read, wait_empty
from tests.support.nats import NatsServer


async def test_the_next_frame_to_a_process_that_is_gone_breaks_the_stream(
    one: Bus, own_nats_server: NatsServer
) -> None:
    async with buses.connect(own_nats_server.url, process_id="third") as third:
        outgoing, _ = await opened(one, third)

    async def send_on() -> None:
        while True:
            await outgoing.send(b"more")
            await one.flush()

    with pytest.raises(ComponentGone):
        await send_on()
    await wait_empty(one)


async def test_a_silent_endpoint_of_a_process_that_is_gone_is_found_by_ping(
    one: Bus, own_nats_server: NatsServer
) -> None:
    one.streams.ping_after_s = 0.05
    async with buses.connect(own_nats_server.url, process_id="third") as third:
        _, incoming = await opened(third, one)

    with pytest.raises(ComponentGone):
        await anext(incoming)


async def test_the_death_of_a_components_last_pod_breaks_its_streams(one: Bus, two: Bus) -> None:
    _, incoming = await opened(one, two, API)

    await one.publish(subjects.pods_gone(API), encode_notice(PodGone(subject=API)))

    with pytest.raises(ComponentGone, match="api@aaaaaaaaaaaa") as caught:
        await anext(incoming)
    assert caught.value.hop == "api@aaaaaaaaaaaa"


async def test_a_lost_connection_breaks_all_streams(
    one: Bus, two: Bus, own_nats_server: NatsServer
) -> None:
    outgoing, incoming = await opened(one, two)

    await asyncio.to_thread(own_nats_server.kill)

    with pytest.raises(NatsUnavailable):
        await anext(incoming)
    await wait_empty(one, two)
    with pytest.raises(NatsUnavailable):
        await outgoing.send(b"more")


async def test_the_progress_of_many_streams_is_checked_some_at_a_time(one: Bus) -> None:
    one.streams.idle_timeout_s = 0.01
    peer = one.streams.open_outgoing().subject
    endpoints = [one.streams.open_incoming(peer) for _ in range(3 * MOST_CHECKED)]
    open_ones = [len(endpoints)]

    while open_ones[-1]:
        await asyncio.sleep(0)
        open_ones.append(sum(endpoint.is_open for endpoint in endpoints))

    assert max(before - after for before, after in pairwise(open_ones)) <= MOST_CHECKED


async def test_a_stream_without_progress_breaks_at_both_ends(one: Bus, two: Bus) -> None:
    # How soon the progress is checked for the first time.
    two.streams.ping_after_s = 0.05
    outgoing, incoming = await opened(one, two)
    two.streams.idle_timeout_s = 0.1

    with pytest.raises(DeadlineExceeded, match=r"no progress for 0\.1 s"):
        await anext(incoming)
    await wait_empty(one, two)
    with pytest.raises(DeadlineExceeded, match="no progress"):
        await outgoing.send(b"more")


async def test_report_progress_of_a_slow_reader_keeps_the_stream_open(one: Bus, two: Bus) -> None:
    outgoing, incoming = await opened(one, two)
    long_ago_s = outgoing.progress_s - 3600
    outgoing.progress_s = incoming.progress_s = long_ago_s

    incoming.report_progress()
    while outgoing.progress_s == long_ago_s:
        await asyncio.sleep(0)

    for endpoint in (outgoing, incoming):
        endpoint.check_progress(idle_timeout_s=1800)
    assert outgoing.is_open
    await outgoing.end()
    assert await read(incoming) == b""


async def test_a_lost_chunk_breaks_the_stream_at_both_ends(one: Bus, two: Bus) -> None:
    outgoing, incoming = await opened(one, two)

    outgoing._core.chunk(memoryview(b"lost"))
    await outgoing.send(b"next")

    with pytest.raises(StreamBroken, match="lost chunks"):
        await anext(incoming)
    await wait_empty(one, two)


@pytest.mark.parametrize("payload", [b"", b"\xff" * 20, protocol.encode(FrameKind.CREDIT, 1)])
async def test_garbage_breaks_only_its_own_stream(one: Bus, two: Bus, payload: bytes) -> None:
    _, incoming = await opened(one, two)
    other, reading = await opened(one, two)

    await one.publish(incoming.subject, payload)

    with pytest.raises(StreamBroken):
        await anext(incoming)
    await other.end()
    assert await read(reading) == b""


async def test_a_frame_to_an_unknown_endpoint_is_answered_by_a_reset(one: Bus, two: Bus) -> None:
    incoming = two.streams.open_incoming(f"{one.streams.prefix}{'0' * 16}")

    with pytest.raises(StreamBroken, match="does not exist"):
        await anext(incoming)


@pytest.mark.parametrize(
    "peer",
    [
        "$JS.API.STREAM.DELETE.KV_kubefox",
        "reply.two.stream.0123456789abcdef 0\r\n\r\nPUB evil 0\r\n\r\nPUB x",
        "reply.two.stream.0123456789abcdef\n",
        "reply.two.7",
        "",
    ],
)
async def test_no_frame_is_sent_to_a_subject_outside_streams(one: Bus, peer: str) -> None:
    with pytest.raises(InvalidEvent, match="not the subject of a stream"):
        one.streams.open_incoming(peer)

    assert len(one.streams) == 0


async def test_with_many_streams_each_window_is_smaller(one: Bus) -> None:
    unknown = f"{one.streams.prefix}{'0' * 16}"
    windows = [one.streams.open_incoming(unknown).window_bytes for _ in range(200)]

    assert windows[0] == WINDOW_BYTES
    assert windows[-1] == MIN_WINDOW_BYTES
    assert sum(windows) < 64 << 20


async def test_many_streams_of_one_lane_leave_large_windows_for_those_of_another(one: Bus) -> None:
    unknown = f"{one.streams.prefix}{'0' * 16}"
    for _ in range(1_000):
        one.streams.open_incoming(unknown, lane="flood")

    assert one.streams.open_incoming(unknown, lane="other").window_bytes == WINDOW_BYTES

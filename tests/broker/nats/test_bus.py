"""The bus against a real nats-server."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import nats
import pytest
from nats.aio.msg import Msg

from broker.nats import bus as buses
from broker.nats.bus import Bus
from broker.nats.gone_pods import PodGone, encode_notice
from kubefox import subjects
from kubefox.errors import (
    BodyTooLarge,
    ComponentGone,
    DeadlineExceeded,
    NatsUnavailable,
    NoPodReady,
)
from tests.support.garbage import leaves_no_frame_of
from tests.support.nats import NatsServer

FOREVER_S = 60
UNREACHABLE = "nats://127.0.0.1:1"
API = subjects.component("shop", "api", "a" * 32)


@pytest.fixture
async def other(own_nats_server: NatsServer) -> AsyncIterator[Bus]:
    async with buses.connect(own_nats_server.url, process_id="two") as other:
        yield other


async def serve_echo(bus: Bus, subject: str) -> None:
    async def echo(payload: bytes, reply: str) -> None:
        await bus.publish(reply, payload)

    await bus.serve(subject, echo)
    await bus.flush()


async def serve_silence(bus: Bus, subject: str) -> asyncio.Event:
    """Never reply; set the event at the first message."""
    received = asyncio.Event()

    async def keep(_payload: bytes, _reply: str) -> None:
        received.set()

    await bus.serve(subject, keep)
    await bus.flush()
    return received


def reconnected(bus: Bus) -> asyncio.Event:
    done = asyncio.Event()

    async def note() -> None:
        done.set()

    bus.on_reconnect(note)
    return done


async def test_a_request_gets_its_own_reply(bus: Bus, other: Bus) -> None:
    await serve_echo(other, "echo")

    replies = await asyncio.gather(
        *(bus.request("echo", b"%d" % number, FOREVER_S) for number in range(200))
    )

    assert replies == [b"%d" % number for number in range(200)]
    assert bus.in_flight == 0


async def test_a_request_that_fails_leaves_nothing_behind(bus: Bus) -> None:
    with leaves_no_frame_of("broker/"):
        with pytest.raises(NoPodReady):
            await bus.request(API, b"large", FOREVER_S)
        # A task keeps the result that woke it until it waits again.
        await asyncio.sleep(0)


async def test_a_request_without_subscriber_fails_at_once(bus: Bus) -> None:
    with pytest.raises(NoPodReady, match="api@aaaaaaaaaaaa"):
        await bus.request(API, b"", FOREVER_S)


async def test_a_request_without_reply_ends_at_its_deadline(bus: Bus, other: Bus) -> None:
    await serve_silence(other, API)

    with pytest.raises(DeadlineExceeded) as caught:
        await bus.request(API, b"", 0.01)

    assert caught.value.hop == "api@aaaaaaaaaaaa"
    assert bus.in_flight == 0


async def test_a_message_over_the_limit_is_refused_and_the_connection_lives(
    bus: Bus, other: Bus
) -> None:
    await serve_echo(other, "echo")
    limit = bus.max_payload_bytes

    with pytest.raises(BodyTooLarge, match=f"limit of {limit}"):
        await bus.request("echo", bytes(limit + 1), FOREVER_S)

    assert bus.in_flight == 0
    assert len(await bus.request("echo", bytes(limit), FOREVER_S)) == limit


async def test_a_request_in_flight_fails_when_the_connection_breaks(
    bus: Bus, other: Bus, own_nats_server: NatsServer
) -> None:
    received = await serve_silence(other, "silence")
    request = asyncio.create_task(bus.request("silence", b"", FOREVER_S))
    await received.wait()

    await asyncio.to_thread(own_nats_server.kill)

    with pytest.raises(NatsUnavailable, match="was lost"):
        await request
    assert not bus.is_ready
    assert bus.in_flight == 0


async def test_after_a_reconnect_requests_work_and_nothing_stale_arrives(
    bus: Bus, other: Bus, own_nats_server: NatsServer
) -> None:
    received = await serve_silence(other, "work")
    got: list[bytes] = []

    async def note(payload: bytes, reply: str) -> None:
        got.append(payload)
        await other.publish(reply, b"done")

    await other.serve("other-work", note)
    reconnects = (reconnected(bus), reconnected(other))
    request = asyncio.create_task(bus.request("work", b"", FOREVER_S))
    await received.wait()
    await asyncio.to_thread(own_nats_server.kill)
    with pytest.raises(NatsUnavailable):
        await request

    with pytest.raises(NatsUnavailable, match="is down"):
        await bus.request("other-work", b"stale", FOREVER_S)
    await asyncio.to_thread(own_nats_server.start)
    for reconnect in reconnects:
        await reconnect.wait()

    assert bus.is_ready
    assert await bus.request("other-work", b"fresh", FOREVER_S) == b"done"
    assert got == [b"fresh"]


async def test_a_pods_death_fails_exactly_the_requests_to_it(bus: Bus, other: Bus) -> None:
    gone = await serve_silence(other, API)
    alive = await serve_silence(other, "alive")
    lost = asyncio.create_task(bus.request(API, b"", FOREVER_S))
    waiting = asyncio.create_task(bus.request("alive", b"", FOREVER_S))
    await gone.wait()
    await alive.wait()

    await other.publish(subjects.pods_gone(API), encode_notice(PodGone(subject=API)))

    with pytest.raises(ComponentGone, match="api@aaaaaaaaaaaa"):
        await lost
    assert bus.in_flight == 1
    waiting.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await waiting
    assert bus.in_flight == 0


async def test_garbage_on_the_reply_subjects_is_ignored(bus: Bus, other: Bus) -> None:
    await serve_echo(other, "echo")

    for subject in ("reply.one.999", "reply.one.x"):
        await other.publish(subject, b"\xff garbage")
    await other.publish(subjects.pods_gone(API), b"\xff not text")
    await other.publish(subjects.pods_gone(API), b"")
    await other.flush()

    assert await bus.request("echo", b"fine", FOREVER_S) == b"fine"


async def test_after_a_handler_raises_the_next_message_is_handled(
    bus: Bus, other: Bus, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail_first(payload: bytes, reply: str) -> None:
        if payload == b"bad":
            raise ValueError("of the handler")
        await other.publish(reply, b"good")

    await other.serve("work", fail_first)
    await other.flush()

    await bus.publish("work", b"bad")

    assert await bus.request("work", b"fine", FOREVER_S) == b"good"
    assert "message on work could not be handled" in caplog.text


async def test_after_a_fast_path_callback_raises_the_next_message_is_handled(
    bus: Bus, other: Bus, caplog: pytest.LogCaptureFixture
) -> None:
    received: list[tuple[str, bytes]] = []
    done = asyncio.Event()

    def receive(subject: str, payload: bytes, _reply: str) -> None:
        received.append((subject, payload))
        if payload == b"bad":
            raise ValueError("of the callback")
        done.set()

    subscription = await other.serve_fast_path("work.*", receive)
    await other.flush()
    await bus.publish("work.a", b"bad")
    await bus.publish("work.b", b"good")
    await done.wait()
    await other.stop_serving(subscription)

    assert received == [("work.a", b"bad"), ("work.b", b"good")]
    assert "message on work.* could not be handled" in caplog.text
    with pytest.raises(NoPodReady):
        await bus.request("work.a", b"", FOREVER_S)


async def test_messages_with_headers_reach_fast_path_callbacks_and_requests(
    bus: Bus, own_nats_server: NatsServer
) -> None:
    client = await nats.connect(own_nats_server.url)
    arrived: asyncio.Queue[bytes] = asyncio.Queue()

    async def answer(message: Msg) -> None:
        await client.publish(message.reply, b"answer", headers={"from": "elsewhere"})

    await client.subscribe("foreign", cb=answer)
    await client.flush()
    await bus.serve_fast_path("work", lambda _subject, payload, _reply: arrived.put_nowait(payload))
    await bus.flush()

    await client.publish("work", b"event", headers={"from": "elsewhere"})

    assert await arrived.get() == b"event"
    # The foreign client's flush does not wait for its subscription.
    while True:
        with contextlib.suppress(NoPodReady):
            assert await bus.request("foreign", b"", FOREVER_S) == b"answer"
            break
    await client.close()


async def test_one_of_a_queue_group_gets_each_message(bus: Bus, other: Bus) -> None:
    got: list[str] = []

    for member in (bus, other):

        async def note(_payload: bytes, reply: str, member: Bus = member) -> None:
            got.append(member.process_id)
            await member.publish(reply, b"")

        await member.serve("work", note, "group")
        await member.flush()

    for _ in range(20):
        await bus.request("work", b"", FOREVER_S)

    assert len(got) == 20


async def test_messages_that_arrived_before_stop_serving_are_handled(bus: Bus, other: Bus) -> None:
    got: list[bytes] = []

    async def note(payload: bytes, _reply: str) -> None:
        got.append(payload)

    subscription = await other.serve("work", note)
    await other.flush()
    for number in range(100):
        await bus.publish("work", b"%d" % number)
    await bus.flush()

    await other.stop_serving(subscription)

    assert len(got) == 100
    with pytest.raises(NoPodReady):
        await bus.request("work", b"", FOREVER_S)
    await other.stop_serving(subscription)


async def test_after_flush_the_server_has_every_subscription(bus: Bus, other: Bus) -> None:
    async def echo(payload: bytes, reply: str) -> None:
        await bus.publish(reply, payload)

    for number in range(100):
        await bus.serve(f"work-{number}", echo)
        await bus.flush()

        assert await other.request(f"work-{number}", b"here", FOREVER_S) == b"here"


async def test_flush_without_a_connection_returns_at_once(
    bus: Bus, other: Bus, own_nats_server: NatsServer
) -> None:
    received = await serve_silence(other, "silence")
    request = asyncio.create_task(bus.request("silence", b"", FOREVER_S))
    await received.wait()
    await asyncio.to_thread(own_nats_server.kill)
    with pytest.raises(NatsUnavailable):
        await request

    await bus.flush()

    assert bus.in_flight == 0


async def test_gather_collects_every_reply(bus: Bus, other: Bus) -> None:
    await serve_echo(bus, "all")
    await serve_echo(other, "all")

    replies: list[bytes] = []

    def is_last(reply: bytes) -> bool:
        replies.append(reply)
        return len(replies) == 2

    assert await bus.gather("all", b"x", FOREVER_S, is_last=is_last) == [b"x", b"x"]


async def test_gather_without_subscribers_is_empty_at_once(bus: Bus) -> None:
    assert await bus.gather("no-subscriber", b"x", FOREVER_S) == []


async def test_an_unreachable_address_fails_within_the_first_connect_time() -> None:
    with pytest.raises(NatsUnavailable, match=r"no NATS at nats://127\.0\.0\.1:1: .*refused"):
        async with buses.connect(UNREACHABLE, process_id="one", first_connect_s=0.3):
            pass


@pytest.mark.parametrize("url", ["nats://127.0.0.1:port", "nats://", "http://127.0.0.1:1"])
async def test_an_invalid_address_fails_within_the_first_connect_time(url: str) -> None:
    with pytest.raises(NatsUnavailable):
        async with buses.connect(url, process_id="one", first_connect_s=0.3):
            pass


async def test_wrong_credentials_fail_without_the_password_in_the_error_or_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with NatsServer(tmp_path, config="authorization { user: fox, password: right }") as server:
        address = f"127.0.0.1:{server.port}"

        with pytest.raises(NatsUnavailable, match=f"{address} .*Authorization") as caught:
            async with buses.connect(
                f"nats://fox:wr0ng@{address}", process_id="one", first_connect_s=0.3
            ):
                pass
        async with buses.connect(f"nats://fox:right@{address}", process_id="one") as bus:
            assert bus.is_ready

    assert "wr0ng" not in str(caught.value)
    assert "wr0ng" not in caplog.text


async def test_one_reachable_server_of_several_is_enough(own_nats_server: NatsServer) -> None:
    urls = f"nats://127.0.0.1:1,{own_nats_server.url}"

    async with buses.connect(urls, process_id="one") as bus:
        assert bus.is_ready


async def test_closing_the_bus_fails_waiting_requests(
    own_nats_server: NatsServer, other: Bus
) -> None:
    received = await serve_silence(other, "silence")

    async with buses.connect(own_nats_server.url, process_id="one") as bus:
        request = asyncio.create_task(bus.request("silence", b"", FOREVER_S))
        await received.wait()

    with pytest.raises(NatsUnavailable):
        await request
    assert bus.closed.is_set()
    with pytest.raises(NatsUnavailable):
        await bus.publish("silence", b"")


async def test_a_server_that_hangs_does_not_answer(own_nats_server: NatsServer) -> None:
    async with buses.connect(own_nats_server.url, process_id="process") as bus:
        assert await bus.is_answering(30)

        os.kill(own_nats_server.pid, signal.SIGSTOP)
        try:
            # Its threads stop one after another.
            await asyncio.to_thread(
                os.waitid, os.P_PID, own_nats_server.pid, os.WSTOPPED | os.WNOWAIT
            )
            assert not await bus.is_answering(0.1)
        finally:
            os.kill(own_nats_server.pid, signal.SIGCONT)

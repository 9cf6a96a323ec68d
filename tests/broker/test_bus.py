"""The bus against a real nats-server."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from pathlib import Path

import nats
import pytest
from nats.aio.msg import Msg

from broker import bus as buses
from broker.bus import Bus
from model import subjects
from model.errors import BodyTooLarge, ComponentGone, DeadlineExceeded, NatsUnavailable, NoPodReady
from tests.support.garbage import leaves_no_frame_of
from tests.support.nats import NatsServer

FOREVER_S = 60
API = subjects.component("shop", "api", "a" * 32)


@pytest.fixture
async def bus(own_nats_server: NatsServer) -> AsyncIterator[Bus]:
    async with buses.connect(own_nats_server.url, process_id="one") as bus:
        yield bus


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
    """Answer nothing, and set the event at the first message."""
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
        *(bus.request("echo", b"%d" % each, FOREVER_S) for each in range(200))
    )

    assert replies == [b"%d" % each for each in range(200)]
    assert bus.in_flight == 0


async def test_a_request_that_fails_leaves_nothing_behind(bus: Bus) -> None:
    with leaves_no_frame_of("broker/"):
        with pytest.raises(NoPodReady):
            await bus.request(API, b"large", FOREVER_S)
        await asyncio.sleep(0)  # a task holds what it was last woken with until it waits again


async def test_nobody_listening_is_told_at_once(bus: Bus) -> None:
    with pytest.raises(NoPodReady, match="api@aaaaaaaaaaaa"):
        await bus.request(API, b"", FOREVER_S)


async def test_silence_ends_at_the_deadline_with_the_name_of_the_hop(bus: Bus, other: Bus) -> None:
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


async def test_after_a_reconnect_all_works_again_and_nothing_stale_arrives(
    bus: Bus, other: Bus, own_nats_server: NatsServer
) -> None:
    received = await serve_silence(other, "work")
    got: list[bytes] = []

    async def note(payload: bytes, reply: str) -> None:
        got.append(payload)
        await other.publish(reply, b"done")

    await other.serve("other-work", note)
    again = (reconnected(bus), reconnected(other))
    request = asyncio.create_task(bus.request("work", b"", FOREVER_S))
    await received.wait()
    await asyncio.to_thread(own_nats_server.kill)
    with pytest.raises(NatsUnavailable):
        await request

    with pytest.raises(NatsUnavailable, match="is down"):
        await bus.request("other-work", b"stale", FOREVER_S)
    await asyncio.to_thread(own_nats_server.start)
    for each in again:
        await each.wait()

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

    await other.publish(subjects.PODS_GONE, API.encode())

    with pytest.raises(ComponentGone, match="api@aaaaaaaaaaaa"):
        await lost
    assert bus.in_flight == 1
    waiting.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await waiting
    assert bus.in_flight == 0


async def test_garbage_on_the_inbox_harms_nobody(bus: Bus, other: Bus) -> None:
    await serve_echo(other, "echo")

    for subject in ("inbox.one.999", "inbox.one.x"):
        await other.publish(subject, b"\xff garbage")
    await other.publish(subjects.PODS_GONE, b"\xff not text")
    await other.publish(subjects.PODS_GONE, b"")
    await other.flush()

    assert await bus.request("echo", b"fine", FOREVER_S) == b"fine"


async def test_a_handler_that_raises_goes_on_with_the_next_message(
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


async def test_what_is_taken_at_once_goes_on_after_a_failure(
    bus: Bus, other: Bus, caplog: pytest.LogCaptureFixture
) -> None:
    taken: list[tuple[str, bytes]] = []
    done = asyncio.Event()

    def take(subject: str, payload: bytes, _reply: str) -> None:
        taken.append((subject, payload))
        if payload == b"bad":
            raise ValueError("of the taker")
        done.set()

    subscription = await other.take("work.*", take)
    await other.flush()
    await bus.publish("work.a", b"bad")
    await bus.publish("work.b", b"good")
    await done.wait()
    await other.stop_serving(subscription)

    assert taken == [("work.a", b"bad"), ("work.b", b"good")]
    assert "message on work.* could not be taken" in caplog.text
    with pytest.raises(NoPodReady):
        await bus.request("work.a", b"", FOREVER_S)


async def test_messages_with_headers_arrive_as_others_do(
    bus: Bus, own_nats_server: NatsServer
) -> None:
    client = await nats.connect(own_nats_server.url)
    arrived: asyncio.Queue[bytes] = asyncio.Queue()

    async def answer(message: Msg) -> None:
        await client.publish(message.reply, b"answer", headers={"from": "elsewhere"})

    await client.subscribe("foreign", cb=answer)
    await client.flush()
    await bus.take("work", lambda _subject, payload, _reply: arrived.put_nowait(payload))
    await bus.flush()

    await client.publish("work", b"event", headers={"from": "elsewhere"})

    assert await arrived.get() == b"event"
    while True:  # the foreign client's flush does not wait for its subscription
        with contextlib.suppress(NoPodReady):
            assert await bus.request("foreign", b"", FOREVER_S) == b"answer"
            break
    await client.close()


async def test_one_of_a_queue_group_gets_each_message(bus: Bus, other: Bus) -> None:
    got: list[str] = []

    for each in (bus, other):

        async def note(_payload: bytes, reply: str, each: Bus = each) -> None:
            got.append(each.process_id)
            await each.publish(reply, b"")

        await each.serve("work", note, "group")
        await each.flush()

    for _ in range(20):
        await bus.request("work", b"", FOREVER_S)

    assert len(got) == 20


async def test_what_arrived_before_stop_serving_is_handed_over(bus: Bus, other: Bus) -> None:
    got: list[bytes] = []

    async def note(payload: bytes, _reply: str) -> None:
        got.append(payload)

    subscription = await other.serve("work", note)
    await other.flush()
    for each in range(100):
        await bus.publish("work", b"%d" % each)
    await bus.flush()

    await other.stop_serving(subscription)

    assert len(got) == 100
    with pytest.raises(NoPodReady):
        await bus.request("work", b"", FOREVER_S)
    await other.stop_serving(subscription)


async def test_after_flush_the_server_knows_of_every_subscription(bus: Bus, other: Bus) -> None:
    async def echo(payload: bytes, reply: str) -> None:
        await bus.publish(reply, payload)

    for each in range(100):
        await bus.serve(f"work-{each}", echo)
        await bus.flush()

        assert await other.request(f"work-{each}", b"here", FOREVER_S) == b"here"


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

    assert await bus.gather("all", b"x", 0.1) == [b"x", b"x"]


async def test_gather_of_nobody_is_empty_at_once(bus: Bus) -> None:
    assert await bus.gather("nobody", b"x", FOREVER_S) == []


async def test_a_wrong_address_is_an_error_now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(buses, "_FIRST_CONNECT_S", 0.3)

    with pytest.raises(NatsUnavailable, match=r"no NATS at nats://127\.0\.0\.1:1: .*refused"):
        async with buses.connect("nats://127.0.0.1:1", process_id="one"):
            pass


@pytest.mark.parametrize(("repeat_s", "count"), [(60, 1), (0.2, 2)])
async def test_an_error_that_lasts_is_logged_only_now_and_then(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, repeat_s: float, count: int
) -> None:
    monkeypatch.setattr(buses, "_FIRST_CONNECT_S", 0.5)
    monkeypatch.setattr(buses, "_REPEAT_S", repeat_s)

    with pytest.raises(NatsUnavailable):
        await buses.connect("nats://127.0.0.1:1", process_id="one").__aenter__()

    assert min(2, caplog.text.count("refused")) == count


@pytest.mark.parametrize("url", ["nats://127.0.0.1:port", "nats://", "http://127.0.0.1:1"])
async def test_an_address_that_is_none_is_an_error_now(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(buses, "_FIRST_CONNECT_S", 0.3)

    with pytest.raises(NatsUnavailable):
        async with buses.connect(url, process_id="one"):
            pass


async def test_wrong_credentials_are_an_error_that_keeps_the_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(buses, "_FIRST_CONNECT_S", 0.3)
    caplog.set_level(logging.DEBUG)
    with NatsServer(tmp_path, config="authorization { user: fox, password: right }") as server:
        address = f"127.0.0.1:{server.port}"

        with pytest.raises(NatsUnavailable, match=f"{address}: .*Authorization") as caught:
            async with buses.connect(f"nats://fox:wr0ng@{address}", process_id="one"):
                pass
        async with buses.connect(f"nats://fox:right@{address}", process_id="one") as bus:
            assert bus.is_ready

    assert "wr0ng" not in str(caught.value)
    assert "wr0ng" not in caplog.text


async def test_any_of_several_servers_will_do(own_nats_server: NatsServer) -> None:
    urls = f"nats://127.0.0.1:1,{own_nats_server.url}"

    async with buses.connect(urls, process_id="one") as bus:
        assert bus.is_ready


async def test_a_closed_bus_says_so_and_what_waits_is_failed(
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

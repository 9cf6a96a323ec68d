"""The table of requests that wait for a reply."""

from __future__ import annotations

import asyncio

import pytest

from broker.nats.inbox import Inbox
from kubefox import subjects
from kubefox.errors import ComponentGone, DeadlineExceeded, NatsUnavailable, NoPodReady

API = subjects.component("shop", "api", "a" * 32)
WEB = subjects.component("shop", "web", "b" * 32)
FOREVER_S = 60


@pytest.fixture
async def inbox() -> Inbox:
    return Inbox("reply.me.")


async def test_a_reply_resolves_its_own_request(inbox: Inbox) -> None:
    first = inbox.open(API, FOREVER_S)
    second = inbox.open(API, FOREVER_S)

    inbox.deliver(second, b"2")
    inbox.deliver(first, b"1")

    assert first != second
    assert first.startswith("reply.me.")
    assert await inbox.wait(first) == b"1"
    assert await inbox.wait(second) == b"2"
    assert len(inbox) == 0


async def test_a_second_a_late_and_an_unknown_reply_are_dropped(inbox: Inbox) -> None:
    reply = inbox.open(API, FOREVER_S)
    inbox.deliver(reply, b"first")
    inbox.deliver(reply, b"second")
    inbox.fail_no_responders(reply)

    assert await inbox.wait(reply) == b"first"

    inbox.deliver(reply, b"late")
    inbox.fail_no_responders(reply)
    inbox.deliver("inbox.me.unknown", b"?")
    assert len(inbox) == 0


async def test_a_request_past_its_deadline_names_the_hop(inbox: Inbox) -> None:
    reply = inbox.open(API, 0)

    with pytest.raises(DeadlineExceeded, match=r"waiting for api@aaaaaaaaaaaa$") as caught:
        await inbox.wait(reply)

    assert caught.value.hop == "api@aaaaaaaaaaaa"
    assert len(inbox) == 0


async def test_a_request_without_responders_fails_with_no_pod_ready(inbox: Inbox) -> None:
    reply = inbox.open(API, FOREVER_S)

    inbox.fail_no_responders(reply)

    with pytest.raises(NoPodReady, match="api@aaaaaaaaaaaa") as caught:
        await inbox.wait(reply)
    assert caught.value.hop == "api@aaaaaaaaaaaa"


async def test_the_death_of_a_pod_fails_exactly_the_requests_to_it(inbox: Inbox) -> None:
    gone = [inbox.open(API, FOREVER_S), inbox.open(API, FOREVER_S)]
    other = inbox.open(WEB, FOREVER_S)

    inbox.fail_subject(API)
    inbox.deliver(other, b"alive")

    for reply in gone:
        with pytest.raises(ComponentGone, match="api@aaaaaaaaaaaa"):
            await inbox.wait(reply)
    assert await inbox.wait(other) == b"alive"


async def test_a_lost_connection_fails_all_unanswered_requests(inbox: Inbox) -> None:
    answered = inbox.open(API, FOREVER_S)
    open_ = inbox.open(WEB, FOREVER_S)
    inbox.deliver(answered, b"in time")

    inbox.fail_all()

    assert await inbox.wait(answered) == b"in time"
    with pytest.raises(NatsUnavailable):
        await inbox.wait(open_)


async def test_a_cancelled_request_is_forgotten(inbox: Inbox) -> None:
    reply = inbox.open(API, FOREVER_S)
    waiting = asyncio.create_task(inbox.wait(reply))
    await asyncio.sleep(0)

    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting

    assert len(inbox) == 0
    inbox.deliver(reply, b"late")
    inbox.fail_all()


async def test_a_reply_in_the_turn_of_its_cancellation_is_late(inbox: Inbox) -> None:
    late: list[bytes] = []
    inbox.on_late_reply = late.append
    reply = inbox.open(API, FOREVER_S)
    waiting = asyncio.create_task(inbox.wait(reply))
    await asyncio.sleep(0)

    inbox.deliver(reply, b"just now")
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting

    assert late == [b"just now"]


async def test_a_request_that_was_never_sent_is_forgotten(inbox: Inbox) -> None:
    reply = inbox.open(API, FOREVER_S)

    inbox.forget(reply)
    inbox.forget(reply)

    assert len(inbox) == 0

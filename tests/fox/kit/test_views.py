"""A view is queried once for each context, even if the waiting events are cancelled."""

from __future__ import annotations

import asyncio
import gc
import tracemalloc
from collections.abc import Callable, Iterable

import msgspec
import pytest

from broker.dispatch.views import ViewReply, ViewRequest
from broker.nats.lost_connection import NotSent
from broker.telemetry.metrics import MAX_SERIES
from broker.telemetry.telemetry import Telemetry
from fox.kit.variables import Identity
from fox.kit.views import VIEW_BYTES, Views
from kubefox import subjects
from kubefox.context import ComponentView
from kubefox.errors import (
    ComponentMismatch,
    DeadlineExceeded,
    FoxError,
    NatsUnavailable,
    NoPodReady,
)
from kubefox.sized_cache import ENTRY_BYTES

IDENTITY = Identity(app="shop", component="web", hash="a" * 32)
OFF = Telemetry(is_on=False)
Answer = Callable[[ViewRequest], ViewReply]


class FakeBroker:
    """Replaces a broker; answers when ``answering`` is set."""

    process_id = "pod"

    def __init__(self, answer: Answer) -> None:
        self.queries: list[ViewRequest] = []
        self.answering = asyncio.Event()
        self.answering.set()
        self._answer = answer

    async def request(self, subject: str, payload: bytes, timeout_s: float) -> bytes:
        assert subject == subjects.view(IDENTITY.sender)
        query = msgspec.msgpack.decode(payload, type=ViewRequest)
        self.queries.append(query)
        await self.answering.wait()
        return msgspec.msgpack.encode(self._answer(query))


def granted(query: ViewRequest) -> ViewReply:
    return ViewReply(
        view=ComponentView(
            app="shop",
            deployment=query.token,
            virtual_environment="team-a",
            release="",
            vars={},
            targets={},
            callers=frozenset(),
        )
    )


def refused(query: ViewRequest) -> ViewReply:
    return ViewReply(error=ComponentMismatch("not part of it").to_detail())


async def test_a_view_is_queried_once_and_cached() -> None:
    broker = FakeBroker(granted)
    views = Views(broker, IDENTITY, OFF)
    assert views.get("token") is None

    first = await views.fetch("token")

    assert views.get("token") is first
    assert first.deployment == "token"
    assert broker.queries == [ViewRequest("token")]


async def test_events_that_arrive_together_share_one_query() -> None:
    broker = FakeBroker(granted)
    views = Views(broker, IDENTITY, OFF)

    one, two, other = await asyncio.gather(
        views.fetch("token"), views.fetch("token"), views.fetch("other")
    )

    assert one is two is not other
    assert [query.token for query in broker.queries] == ["token", "other"]


async def test_cancelling_the_first_event_does_not_cancel_the_query_of_others() -> None:
    broker = FakeBroker(granted)
    broker.answering.clear()
    views = Views(broker, IDENTITY, OFF)
    first = asyncio.create_task(views.fetch("token"))
    second = asyncio.create_task(views.fetch("token"))
    while not broker.queries:
        await asyncio.sleep(0)

    first.cancel()
    broker.answering.set()

    assert (await second).deployment == "token"
    assert first.cancelled()
    assert len(broker.queries) == 1


async def test_a_refusal_is_raised_and_not_cached() -> None:
    broker = FakeBroker(refused)
    views = Views(broker, IDENTITY, OFF)

    for _ in range(2):
        with pytest.raises(ComponentMismatch, match="not part of it"):
            await views.fetch("token")

    assert len(broker.queries) == 2
    assert views.get("token") is None


async def test_a_refusal_without_waiting_events_is_not_logged() -> None:
    broker = FakeBroker(refused)
    broker.answering.clear()
    views = Views(broker, IDENTITY, OFF)
    asking = asyncio.create_task(views.fetch("token"))
    while not broker.queries:
        await asyncio.sleep(0)
    asking.cancel()

    broker.answering.set()
    with pytest.raises(ComponentMismatch):
        await views.fetch("token")

    assert asking.cancelled()


TOKENS = tuple(f"{number:0200}" for number in range(50))


def room_for(views: int) -> int:
    """Return the bytes for so many views of ``TOKENS``."""
    return views * (ENTRY_BYTES + VIEW_BYTES + len(TOKENS[0]) + len(b"\x80") * 4)


async def visit(views: Views, tokens: Iterable[str]) -> None:
    """Use each view as the events of its context do."""
    for token in tokens:
        view = views.get(token) or await views.fetch(token)
        assert view.deployment == token


async def test_each_view_is_queried_once_if_there_is_room_for_all() -> None:
    broker = FakeBroker(granted)
    views = Views(broker, IDENTITY, OFF, room_for(len(TOKENS)))

    for _ in range(3):
        await visit(views, TOKENS)

    assert len(broker.queries) == len(TOKENS)
    assert (views.cache.hits, views.cache.evictions) == (2 * len(TOKENS), 0)


async def test_contexts_in_turn_are_mostly_found_with_room_for_almost_all() -> None:
    broker = FakeBroker(granted)
    views = Views(broker, IDENTITY, OFF, room_for(45))
    await visit(views, TOKENS)
    first = len(broker.queries)

    for _ in range(10):
        await visit(views, TOKENS)

    # If the oldest view made room, each would be queried again: 500 queries.
    assert 0 < len(broker.queries) - first < 500 * 0.3
    assert len(views.cache) == 45


async def test_equal_parts_of_views_are_in_memory_once() -> None:
    views = Views(FakeBroker(with_parts), IDENTITY, OFF)

    one, other = await views.fetch("one"), await views.fetch("other")

    assert one.vars is other.vars
    assert one.targets is other.targets
    assert one.callers is other.callers


async def test_a_list_is_not_shared_because_a_handler_may_change_it() -> None:
    views = Views(FakeBroker(with_list), IDENTITY, OFF)

    one, other = await views.fetch("one"), await views.fetch("other")
    texts = one.vars["hosts"]
    assert isinstance(texts, list)
    texts.append("changed")

    assert other.vars == {"hosts": ["a"]}


def with_parts(query: ViewRequest) -> ViewReply:
    return changed(
        granted(query),
        vars={"greeting": "hello"},
        targets={"api": "evt.shop.api"},
        callers=frozenset({"ui@1"}),
    )


def with_list(query: ViewRequest) -> ViewReply:
    return changed(granted(query), vars={"hosts": ["a"]})


def changed(reply: ViewReply, **parts: object) -> ViewReply:
    assert reply.view is not None
    return ViewReply(view=msgspec.structs.replace(reply.view, **parts))


async def test_the_estimated_size_of_a_view_is_about_that_in_memory() -> None:
    known, count = MAX_SERIES, 300
    broker = FakeBroker(with_parts)
    views = Views(broker, IDENTITY, Telemetry(is_on=False))
    # The figures of the first contexts have a limit of their own.
    await visit(views, [f"{number:0200}" for number in range(known)])
    before = views.cache.size_bytes
    gc.collect()
    tracemalloc.start()

    await visit(views, [f"{number:0200}" for number in range(known, known + count)])
    broker.queries.clear()
    gc.collect()
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert 0.7 < taken / (views.cache.size_bytes - before) < 1.4


async def test_without_a_broker_or_an_answer_nats_is_unavailable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("fox.kit.views._QUERY_S", 0.2)

    def no_broker(query: ViewRequest) -> ViewReply:
        raise NoPodReady("no pod of broker/view is ready")

    for answer in (no_broker, lambda _: ViewReply()):
        with pytest.raises(NatsUnavailable, match="broker"):
            await Views(FakeBroker(answer), IDENTITY, OFF).fetch("token")


@pytest.mark.parametrize(
    "error",
    [
        DeadlineExceeded("time ran out waiting for broker/view"),
        NoPodReady("no pod of broker/view is ready"),
        NotSent("the connection to NATS is down"),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_a_query_that_no_broker_has_answered_is_sent_again(error: FoxError) -> None:
    def answer_second(query: ViewRequest) -> ViewReply:
        if len(broker.queries) == 1:
            raise error
        return granted(query)

    broker = FakeBroker(answer_second)

    view = await Views(broker, IDENTITY, OFF).fetch("token")

    assert view.deployment == "token"
    assert len(broker.queries) == 2


async def test_a_query_that_no_broker_answers_ends() -> None:
    def never(query: ViewRequest) -> ViewReply:
        raise DeadlineExceeded("time ran out waiting for broker/view")

    with pytest.raises(NatsUnavailable, match="no broker answers"):
        await Views(FakeBroker(never), IDENTITY, OFF).fetch("token")

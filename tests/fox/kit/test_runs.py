"""Runs of emitted events: they begin when they may, and end when their last thread has ended."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator

import pytest

from broker.streams.body_sender import StreamedBody, single_chunk
from fox.kit.runs import Runs, TrackingExecutor
from kubefox.delivery import PERMITTED, REFUSED, Delivery
from kubefox.errors import Conflict, DeadlineExceeded
from kubefox.event import Event

DELIVERY = Delivery(begin="reply.adapter-1-begin.0123456789abcdef")
LONG_S = 20


class Adapter:
    """Answers a pod that asks whether it may begin."""

    def __init__(self, answer: bytes = PERMITTED) -> None:
        self.answer = answer
        self.asked: list[tuple[str, bytes]] = []

    async def request(
        self, subject: str, payload: bytes, timeout_s: float, body: object = None
    ) -> bytes:
        self.asked.append((subject, payload))
        return self.answer


def event(event_id: str = "1") -> Event:
    return Event(
        id=event_id, genesis_id="1", type="component", context="", source="", deadline_ms=1 << 52
    )


@pytest.fixture
async def executor() -> AsyncIterator[TrackingExecutor]:
    executor = TrackingExecutor()
    asyncio.get_running_loop().set_default_executor(executor)
    yield executor
    executor.shutdown()


async def time_out_in_thread(goes_on: threading.Event) -> None:
    """Run out of time while a thread waits; one that has not begun would be cancelled instead."""
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(None) as timeout:

        def wait() -> None:
            loop.call_soon_threadsafe(timeout.reschedule, loop.time())
            goes_on.wait()

        await asyncio.to_thread(wait)


async def test_a_handler_begins_when_its_adapter_permits_it() -> None:
    adapter = Adapter()

    async with Runs(adapter, "pod-1").run(event(), DELIVERY, LONG_S):
        assert adapter.asked == [(DELIVERY.begin, b"pod-1")]


async def test_a_handler_does_not_begin_when_its_adapter_has_given_it_up() -> None:
    runs = Runs(Adapter(REFUSED), "pod-1")

    with pytest.raises(DeadlineExceeded, match="too late"):
        async with runs.run(event(), DELIVERY, LONG_S):
            pytest.fail("the handler began")


@pytest.mark.parametrize(
    "subject",
    ["", "evt.shop.api.1", "reply.x.stream.0123456789abcdef", "reply.*-begin.0123456789abcdef"],
)
async def test_a_sender_cannot_make_a_pod_ask_at_any_subject(subject: str) -> None:
    adapter = Adapter()

    async with Runs(adapter, "pod-1").run(event(), Delivery(begin=subject), LONG_S):
        assert adapter.asked == []


async def test_an_event_that_runs_does_not_begin_again() -> None:
    runs = Runs(Adapter(), "pod-1")

    async with runs.run(event(), DELIVERY, LONG_S):
        with pytest.raises(Conflict, match="still runs"):
            async with runs.run(event(), DELIVERY, LONG_S):
                pytest.fail("it runs twice")
        async with runs.run(event("2"), DELIVERY, LONG_S):
            pass
    async with runs.run(event(), DELIVERY, LONG_S):
        pass


async def test_an_event_runs_until_its_threads_have_ended(executor: TrackingExecutor) -> None:
    runs, goes_on = Runs(Adapter(), "pod-1"), threading.Event()

    with pytest.raises(TimeoutError):
        async with runs.run(event(), DELIVERY, LONG_S):
            await time_out_in_thread(goes_on)
    with pytest.raises(Conflict):
        async with runs.run(event(), DELIVERY, LONG_S):
            pytest.fail("it runs twice")
    goes_on.set()
    await runs.wait_none(LONG_S)

    async with runs.run(event(), DELIVERY, LONG_S):
        pass


async def test_an_event_runs_until_its_streamed_body_is_closed() -> None:
    runs, body = Runs(Adapter(), "pod-1"), StreamedBody(single_chunk(b"a"))

    async with runs.run(event(), DELIVERY, LONG_S) as run:
        run.hold_body(body)
    with pytest.raises(Conflict):
        async with runs.run(event(), DELIVERY, LONG_S):
            pytest.fail("it runs twice")
    await body.close()

    async with runs.run(event(), DELIVERY, LONG_S):
        pass


async def test_a_thread_of_another_event_does_not_count(executor: TrackingExecutor) -> None:
    runs, goes_on = Runs(Adapter(), "pod-1"), threading.Event()
    other = asyncio.create_task(asyncio.to_thread(goes_on.wait))

    async with runs.run(event(), DELIVERY, LONG_S):
        pass
    async with runs.run(event(), DELIVERY, LONG_S):
        pass

    goes_on.set()
    await other


async def test_a_handler_that_runs_on_long_after_its_limit_is_reported(
    executor: TrackingExecutor, caplog: pytest.LogCaptureFixture
) -> None:
    runs, goes_on, hung = Runs(Adapter(), "pod-1", hung_s=0.05), threading.Event(), asyncio.Event()
    runs.on_hung = hung.set

    with pytest.raises(TimeoutError):
        async with runs.run(event(), DELIVERY, 0.01):
            await time_out_in_thread(goes_on)
    async with asyncio.timeout(LONG_S):
        await hung.wait()
    goes_on.set()

    assert "did not end within 0.05 s after its time limit" in caplog.text

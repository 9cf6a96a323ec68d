"""Views are asked for once a context, whatever happens to who asks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec
import pytest

from broker.telemetry.telemetry import Telemetry
from broker.views import ViewReply, ViewRequest
from fox.kit.context import Identity
from fox.kit.views import Views
from model import subjects
from model.context import ComponentView
from model.errors import ComponentMismatch, NatsUnavailable, NoPodReady

IDENTITY = Identity(app="shop", component="web", hash="a" * 32)
OFF = Telemetry(is_on=False)
Answer = Callable[[ViewRequest], ViewReply]


class Asked:
    """Stands for a broker; answers when ``answering`` is set."""

    process_id = "pod"

    def __init__(self, answer: Answer) -> None:
        self.questions: list[ViewRequest] = []
        self.answering = asyncio.Event()
        self.answering.set()
        self._answer = answer

    async def request(self, subject: str, payload: bytes, timeout_s: float) -> bytes:
        assert subject == subjects.VIEW
        question = msgspec.msgpack.decode(payload, type=ViewRequest)
        self.questions.append(question)
        await self.answering.wait()
        return msgspec.msgpack.encode(self._answer(question))


def granted(question: ViewRequest) -> ViewReply:
    return ViewReply(
        view=ComponentView(
            app="shop",
            deployment=question.token,
            virtual_environment="team-a",
            release="",
            vars={},
            targets={},
            callers=frozenset(),
        )
    )


def refused(question: ViewRequest) -> ViewReply:
    return ViewReply(error=ComponentMismatch("not part of it").to_detail())


async def test_a_view_is_asked_for_once_and_kept() -> None:
    broker = Asked(granted)
    views = Views(broker, IDENTITY, OFF)
    assert views.get("token") is None

    first = await views.fetch("token")

    assert views.get("token") is first
    assert first.deployment == "token"
    assert broker.questions == [ViewRequest("token", "web", "a" * 32)]


async def test_events_that_come_together_share_one_question() -> None:
    broker = Asked(granted)
    views = Views(broker, IDENTITY, OFF)

    one, two, other = await asyncio.gather(
        views.fetch("token"), views.fetch("token"), views.fetch("other")
    )

    assert one is two is not other
    assert [each.token for each in broker.questions] == ["token", "other"]


async def test_the_first_that_gives_up_does_not_take_the_answer_from_the_others() -> None:
    broker = Asked(granted)
    broker.answering.clear()
    views = Views(broker, IDENTITY, OFF)
    first = asyncio.create_task(views.fetch("token"))
    second = asyncio.create_task(views.fetch("token"))
    while not broker.questions:
        await asyncio.sleep(0)

    first.cancel()
    broker.answering.set()

    assert (await second).deployment == "token"
    assert first.cancelled()
    assert len(broker.questions) == 1


async def test_a_refusal_is_raised_and_asked_about_again() -> None:
    broker = Asked(refused)
    views = Views(broker, IDENTITY, OFF)

    for _ in range(2):
        with pytest.raises(ComponentMismatch, match="not part of it"):
            await views.fetch("token")

    assert len(broker.questions) == 2
    assert views.get("token") is None


async def test_a_refusal_that_nobody_waits_for_is_silent() -> None:
    broker = Asked(refused)
    broker.answering.clear()
    views = Views(broker, IDENTITY, OFF)
    asking = asyncio.create_task(views.fetch("token"))
    while not broker.questions:
        await asyncio.sleep(0)
    asking.cancel()

    broker.answering.set()
    with pytest.raises(ComponentMismatch):
        await views.fetch("token")

    assert asking.cancelled()


async def test_the_view_met_first_goes_first() -> None:
    broker = Asked(granted)
    views = Views(broker, IDENTITY, OFF, limit=2)

    for token in ("a", "b", "c"):
        await views.fetch(token)

    assert views.get("a") is None
    assert views.get("b") is not None
    assert views.get("c") is not None


async def test_no_broker_and_no_answer_are_unavailable() -> None:
    def nobody(question: ViewRequest) -> ViewReply:
        raise NoPodReady("no pod of broker/view is ready")

    for answer in (nobody, lambda _: ViewReply()):
        with pytest.raises(NatsUnavailable, match="broker"):
            await Views(Asked(answer), IDENTITY, OFF).fetch("token")

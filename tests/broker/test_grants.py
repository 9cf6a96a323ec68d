"""What a broker tells those who ask, and whom it refuses."""

from __future__ import annotations

import msgspec
import pytest

from broker.broker import Broker
from broker.bus import Bus
from broker.views import ViewReply, ViewRequest
from model import subjects
from model.context import ComponentView, EventContext, seal, source_name
from model.errors import ComponentMismatch, InvalidEvent, NoPodReady, NotDeclared
from model.event import Event, EventType
from routing.bindings import Target
from tests.broker.asking import FOREVER_S, ask_usage
from tests.support.data_plane import APP, digest, open_data_plane
from tests.support.nats import NatsServer


async def ask_view(pod: Bus, token: str, component: str, version: str) -> ViewReply:
    request = msgspec.msgpack.encode(ViewRequest(token, component, digest(version)))
    answer = await pod.request(subjects.VIEW, request, FOREVER_S)
    return msgspec.msgpack.decode(answer, type=ViewReply)


async def test_a_pod_gets_the_view_of_its_own_version_only(
    broker: Broker, target: Target, pod: Bus
) -> None:
    token = seal(target.context, await broker.store.platform_key())

    granted = await ask_view(pod, token, "web", "v1")
    outside = await ask_view(pod, token, "web", "v2")
    forged = await ask_view(pod, "x" + token, "web", "v1")

    assert granted == ViewReply(
        view=ComponentView(
            app=APP,
            deployment="v1",
            virtual_environment="team-a",
            release="",
            vars={"colour": "red"},
            targets={
                "api": subjects.component(APP, "api", digest("v1")),
                "state-store": "adapter.state-store",
            },
            callers=frozenset(),
        )
    )
    assert [each.error and each.error.code for each in (outside, forged)] == [
        "component_mismatch",
        "invalid_event",
    ]
    assert [each.view for each in (outside, forged)] == [None, None]


@pytest.mark.parametrize(
    "garbage", [b"", b"\xc1", b"{}", msgspec.msgpack.encode([1, 2, 3]), b"\x91" * 100_000]
)
async def test_a_question_that_cannot_be_read_is_told_so(
    broker: Broker, pod: Bus, garbage: bytes
) -> None:
    answer = await pod.request(subjects.VIEW, garbage, FOREVER_S)

    reply = msgspec.msgpack.decode(answer, type=ViewReply)
    assert reply.error is not None
    assert reply.error.code == "invalid_event"


async def test_a_question_that_wants_no_answer_gets_none(
    broker: Broker, pod: Bus, caplog: pytest.LogCaptureFixture
) -> None:
    for subject in (subjects.VIEW, subjects.USAGE):
        await pod.publish(subject, b"")
    await pod.flush()

    await pod.request(subjects.VIEW, b"", FOREVER_S)

    assert caplog.text == ""


async def test_an_adapter_serves_who_declares_it(broker: Broker, target: Target) -> None:
    event = event_of("web", "v1", seal(target.context, await broker.store.platform_key()))

    data = await broker.authorize(event, "state-store")

    assert data.context == target.context
    assert data.vars == {"colour": "red"}


@pytest.mark.parametrize(
    ("component", "version", "adapter", "error"),
    [
        ("web", "v2", "state-store", ComponentMismatch),
        ("other", "v1", "state-store", ComponentMismatch),
        ("api", "v1", "state-store", NotDeclared),
        ("web", "v1", "http", NotDeclared),
        ("web", "v1", "api", NotDeclared),
    ],
)
async def test_an_adapter_refuses_everybody_else(
    broker: Broker,
    target: Target,
    component: str,
    version: str,
    adapter: str,
    error: type[Exception],
) -> None:
    token = seal(target.context, await broker.store.platform_key())

    with pytest.raises(error):
        await broker.authorize(event_of(component, version, token), adapter)


async def test_an_adapter_refuses_a_context_of_somebody_else(broker: Broker) -> None:
    token = seal(EventContext(APP, "v1", "team-a"), b"another key")

    with pytest.raises(InvalidEvent):
        await broker.authorize(event_of("web", "v1", token), "state-store")


async def test_a_broker_that_closed_answers_no_more(own_nats_server: NatsServer, pod: Bus) -> None:
    async with open_data_plane(own_nats_server.url):
        assert (await ask_usage(pod)).hashes == frozenset()

    for subject in (subjects.USAGE, subjects.VIEW):
        with pytest.raises(NoPodReady):
            await pod.request(subject, b"", FOREVER_S)


def event_of(component: str, version: str, token: str) -> Event:
    return Event(
        id="1",
        genesis_id="1",
        type=EventType.COMPONENT,
        context=token,
        source=source_name(component, digest(version)),
        deadline_ms=0,
    )

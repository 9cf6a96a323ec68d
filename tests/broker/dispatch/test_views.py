"""Requests for views, and the authorization of adapters' callers."""

from __future__ import annotations

import msgspec
import pytest

from broker.dispatch.broker import Broker
from broker.dispatch.views import ViewReply, ViewRequest
from broker.nats.bus import Bus
from kubefox import subjects
from kubefox.context import ComponentView, EventContext, seal, source_name
from kubefox.errors import ComponentMismatch, InvalidEvent, NoPodReady, NotDeclared
from kubefox.event import Event, EventType
from kubefox.senders import Sender
from routing.snapshot.route_binding import Target
from tests.broker.broker_requests import FOREVER_S, ask_usage
from tests.support.data_plane import APP, digest, open_data_plane
from tests.support.nats import NatsServer


def view_of(component: str, version: str, app: str = APP) -> str:
    return subjects.view(Sender(app, source_name(component, digest(version))))


async def ask_view(pod: Bus, token: str, component: str, version: str, app: str = APP) -> ViewReply:
    request = msgspec.msgpack.encode(ViewRequest(token))
    answer = await pod.request(view_of(component, version, app), request, FOREVER_S)
    return msgspec.msgpack.decode(answer, type=ViewReply)


async def test_a_pod_gets_the_view_of_its_own_version_only(
    broker: Broker, target: Target, pod: Bus
) -> None:
    token = broker.store.keys.seal(target.context)

    granted = await ask_view(pod, token, "web", "v1")
    outside = await ask_view(pod, token, "web", "v2")
    forged = await ask_view(pod, "x" + token, "web", "v1")
    foreign = await ask_view(pod, token, "web", "v1", "other-app")

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
    assert [item.error and item.error.code for item in (outside, forged, foreign)] == [
        "component_mismatch",
        "invalid_event",
        "not_authorized",
    ]
    assert [item.view for item in (outside, forged, foreign)] == [None] * 3
    assert broker.bus.forged.count == 1


@pytest.mark.parametrize(
    "garbage", [b"", b"\xc1", b"{}", msgspec.msgpack.encode([1]), b"\x91" * 100_000]
)
async def test_an_undecodable_request_for_a_view_is_answered_with_an_error(
    broker: Broker, pod: Bus, garbage: bytes
) -> None:
    answer = await pod.request(view_of("web", "v1"), garbage, FOREVER_S)

    reply = msgspec.msgpack.decode(answer, type=ViewReply)
    assert reply.error is not None
    assert reply.error.code == "invalid_event"


async def test_a_request_for_a_view_without_a_reply_subject_is_ignored(
    broker: Broker, pod: Bus, caplog: pytest.LogCaptureFixture
) -> None:
    for subject in (view_of("web", "v1"), subjects.USAGE):
        await pod.publish(subject, b"")
    await pod.flush()

    await pod.request(view_of("web", "v1"), b"", FOREVER_S)

    assert caplog.text == ""


async def test_an_adapter_serves_components_that_declare_it(broker: Broker, target: Target) -> None:
    event = event_of("web", "v1", broker.store.keys.seal(target.context))

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
async def test_an_adapter_refuses_components_that_do_not_declare_it(
    broker: Broker,
    target: Target,
    component: str,
    version: str,
    adapter: str,
    error: type[Exception],
) -> None:
    token = broker.store.keys.seal(target.context)

    with pytest.raises(error):
        await broker.authorize(event_of(component, version, token), adapter)


async def test_an_adapter_refuses_a_context_of_another_platform(broker: Broker) -> None:
    token = seal(
        EventContext(APP, "v1", "team-a"), broker.store.keys.ring.sealing_key, b"another key"
    )

    with pytest.raises(InvalidEvent):
        await broker.authorize(event_of("web", "v1", token), "state-store")


async def test_a_closed_broker_answers_no_requests(own_nats_server: NatsServer, pod: Bus) -> None:
    async with open_data_plane(own_nats_server.url):
        assert (await ask_usage(pod)).hashes == frozenset()

    for subject in (subjects.USAGE, view_of("web", "v1")):
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

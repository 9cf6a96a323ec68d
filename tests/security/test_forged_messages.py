"""A pod that can publish only what its credentials allow cannot act in the name of another."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from adapters.events.acceptance import accept_events
from adapters.state_store.adapter import StateStoreAdapter
from broker.dispatch.views import ViewReply, ViewRequest
from broker.events.outbox import ensure_outbox, pending_events
from broker.events.remote_outbox import RemoteOutbox
from broker.nats import bus as buses
from broker.nats.bus import Bus
from broker.nats.wake_requests import Wake, WakeReply, WakeRequest
from broker.storage.records_bucket import subject_of
from fox import Context, Kit
from kubefox import codec, subjects
from kubefox import stream as protocol
from kubefox.context import source_name
from kubefox.delivery import Delivery
from kubefox.errors import NatsUnavailable, NotAuthorized
from kubefox.event import Event, EventType, ResponseHead
from kubefox.records import PLATFORM_KEYS
from kubefox.senders import PLATFORM, Sender
from kubefox.state_store import STATE_STORE
from kubefox.stream import FrameKind
from tests.support.data_plane import APP, SETTINGS, DataPlane, digest, open_data_plane
from tests.support.nats import NatsServer

FOREVER_S = 60

API = subjects.component(APP, "api", digest("v1"))
UI = source_name("ui", digest("v1"))
ME = Sender(APP, source_name("evil", digest("v1")))


def named(sender: Sender) -> set[str]:
    """Return every subject that names its sender, as ``sender`` uses it."""
    return {
        subjects.request_to(API, sender),
        subjects.request_to(subjects.adapter(STATE_STORE), sender),
        subjects.outbox(API, sender),
        subjects.view(sender),
        subjects.wake(sender),
        subjects.figures_of(sender),
        subjects.spans_of(sender),
        subjects.kept_spans_of(sender),
    }


ALLOWED = (
    *sorted(named(ME)),
    "pods.held.*",
    "reply.*.*",
    "reply.*.stream.*",
)
USERS = f"""
authorization {{ users: [
    {{ user: platform, password: x }}
    {{ user: pod, password: x, permissions: {{
        publish: [{", ".join(f'"{subject}"' for subject in ALLOWED)}]
        subscribe: ["reply.evil-1.>"]
    }} }}
] }}
"""


class World:
    """A platform with two components, and the connection of a pod of a third one.

    Attributes:
        plane: The platform.
        evil: The connection of the pod that attacks.
        token: The context of the deployment with all three.
        served: Sources of the events that component ``api`` has handled.
    """

    def __init__(self, plane: DataPlane, evil: Bus, token: str) -> None:
        self.plane = plane
        self.evil = evil
        self.token = token
        self.served: list[str] = []

    def event(self, source: str, **changes: Any) -> Event:
        fields: dict[str, Any] = {
            "id": "1",
            "genesis_id": "1",
            "type": EventType.COMPONENT,
            "context": self.token,
            "source": source,
            "deadline_ms": int((time.time() + FOREVER_S) * 1000),
        }
        return Event(**fields | changes)

    async def send(self, subject: str, event: Event) -> ResponseHead:
        answer = await self.evil.request(subject, codec.encode(event), FOREVER_S)
        return codec.decode_response(answer)[0]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    folder: Path = tmp_path_factory.mktemp("nats")
    with NatsServer(folder, USERS) as running:
        yield running


@pytest.fixture
async def world(server: NatsServer) -> AsyncIterator[World]:
    as_user = server.url.replace("nats://", "nats://{}:x@")
    async with (
        open_data_plane(as_user.format("platform"), SETTINGS) as plane,
        buses.connect(
            as_user.format("pod"), process_id="evil-1", follows_all_pods=False, sender=ME
        ) as evil,
    ):
        evil_kit, ui, api = Kit(), Kit(), Kit()
        evil_kit.component("api")
        ui.component("api")
        ui.state_store("orders")

        await plane.virtual_environment("team-a")
        if "v1" not in plane.broker.snapshot.deployments:
            await plane.deploy("v1", {"evil": evil_kit, "ui": ui, "api": api})
        context = plane.context(APP, "v1", "team-a")
        token = plane.broker.store.keys.seal(context)
        world = World(plane, evil, token)

        @api.default
        async def serve(ctx: Context) -> str:
            world.served.append(ctx.event.source)
            return "served"

        await plane.start("api", api)
        await plane.enter(StateStoreAdapter(plane.broker, SETTINGS))
        await ensure_outbox(plane.broker.bus)
        await plane.enter(accept_events(plane.broker))
        await plane.broker.bus.flush()
        yield world


async def test_a_pod_is_served_as_itself(world: World) -> None:
    answer = await world.send(subjects.request_to(API, ME), world.event(ME.source))

    assert (answer.status, world.served) == (200, [ME.source])


@pytest.mark.parametrize(
    ("source", "changes"),
    [
        (UI, {}),
        ("adapter/http", {"type": EventType.HTTP, "handler": 0}),
        ("adapter/cron", {"type": EventType.CRON, "handler": 0}),
        ("adapter/emit", {"delivery": Delivery()}),
        (UI, {"delivery": Delivery(is_alone=True)}),
        (ME.source, {"delivery": Delivery(timeout_ms=3_600_000)}),
        (ME.source, {"type": EventType.HTTP, "handler": 0}),
    ],
)
async def test_a_pod_that_forges_the_source_of_an_event_is_refused(
    world: World, source: str, changes: dict[str, Any]
) -> None:
    answer = await world.send(subjects.request_to(API, ME), world.event(source, **changes))

    assert answer.error is not None
    assert (answer.error.code, world.served) == ("not_authorized", [])


@pytest.mark.parametrize("source", [UI, "adapter/http", "adapter/emit"])
async def test_the_server_keeps_a_pod_from_the_subjects_of_other_senders(
    world: World, source: str
) -> None:
    subject = subjects.request_to(API, Sender(APP, source))

    await world.evil.publish(subject, codec.encode(world.event(source)))
    await world.send(subjects.request_to(API, ME), world.event(ME.source))

    assert world.served == [ME.source]


async def test_a_pod_names_itself_in_every_subject_and_nobody_else(world: World) -> None:
    heard: set[str] = set()
    bus = world.plane.broker.bus
    others = (
        PLATFORM,
        Sender(APP, UI),
        Sender("blog", ME.source),
        Sender(APP, "adapter/http"),
        Sender("_", ME.source),
    )
    forged = set().union(*map(named, others)) - named(ME)
    for subject in forged | named(ME):
        await bus.serve_fast_path(subject, lambda on, _payload, _reply: heard.add(on))
    await bus.flush()

    for subject in sorted(forged | named(ME)):
        await world.evil.publish(subject, b"")
    await world.evil.flush()
    await bus.flush()

    assert heard == named(ME)


async def test_an_adapter_refuses_a_pod_that_forges_its_source(world: World) -> None:
    subject = subjects.request_to(subjects.adapter(STATE_STORE), ME)

    forged = await world.send(subject, world.event(UI))
    undeclared = await world.send(subject, world.event(ME.source))

    assert [answer.error and answer.error.code for answer in (forged, undeclared)] == [
        "not_authorized",
        "not_declared",
    ]


async def test_a_pod_emits_as_itself_to_what_it_declares(world: World) -> None:
    outbox, before = RemoteOutbox(world.evil, ME), await waiting_events(world)

    assert await outbox.store(API, codec.encode(world.event(ME.source)))

    with pytest.raises(NotAuthorized):
        await outbox.store(API, codec.encode(world.event(UI)))
    assert await waiting_events(world) == before + 1


@pytest.mark.parametrize(
    "subject",
    [
        subjects.emitted(API),
        subjects.outbox(API, Sender(APP, UI)),
        subjects.outbox(subjects.component(APP, "ui", digest("v1")), ME),
    ],
)
async def test_a_pod_cannot_store_an_event_in_another_way(world: World, subject: str) -> None:
    before = await waiting_events(world)

    await world.evil.publish(
        subject, codec.encode(world.event(UI)), f"{subjects.reply_prefix('evil-1')}1"
    )
    await world.evil.flush()
    await world.plane.broker.bus.flush()

    assert await waiting_events(world) == before


async def waiting_events(world: World) -> int:
    return await pending_events(world.plane.broker.bus, digest("v1"))


async def test_a_pod_gets_no_view_of_another_version(world: World) -> None:
    request = msgspec.msgpack.encode(ViewRequest(world.token))

    own = await world.evil.request(subjects.view(ME), request, FOREVER_S)
    with pytest.raises(NatsUnavailable, match="its credentials do not allow it"):
        await world.evil.request(subjects.view(Sender(APP, UI)), request, FOREVER_S)

    view = msgspec.msgpack.decode(own, type=ViewReply).view
    assert view is not None
    assert list(view.targets) == ["api"]


async def test_a_pod_wakes_no_version_of_another_app(world: World) -> None:
    woken: list[bytes] = []
    bus = world.plane.broker.bus

    async def note(payload: bytes, reply: str) -> None:
        woken.append(payload)
        await bus.publish(reply, msgspec.msgpack.encode(WakeReply(state=Wake.NOT_IDLE)))

    served = await bus.serve(subjects.WAKES, note)
    await bus.flush()
    question = msgspec.msgpack.encode(WakeRequest(target=API))
    await world.evil.publish(subjects.wake(PLATFORM), question)
    await world.evil.publish(subjects.wake(Sender("blog", ME.source)), question)
    await world.evil.request(subjects.wake(ME), question, FOREVER_S)
    await bus.stop_serving(served)

    assert len(woken) == 1


async def test_no_reply_subject_follows_from_another_one(world: World) -> None:
    seen: list[str] = []
    bus = world.plane.broker.bus

    async def note(_payload: bytes, reply: str) -> None:
        seen.append(reply)
        await bus.publish(reply, b"true")

    await bus.serve("echo", note)
    for _ in range(20):
        await bus.request("echo", b"", FOREVER_S)

    tokens = [reply.rpartition(".")[2] for reply in seen]
    assert len(set(tokens)) == len(tokens)
    assert {len(token) for token in tokens} == {16}


async def test_forged_replies_and_stream_frames_reach_nothing(world: World) -> None:
    process = world.plane.broker.bus.process_id
    head = ResponseHead(status=200, source=UI)
    chunk = protocol.encode(FrameKind.END, 0)
    keys = world.plane.broker.store.keys
    revision = keys.revision

    for number in range(50):
        await world.evil.publish(f"{subjects.reply_prefix(process)}{number}", codec.encode(head))
        await world.evil.publish(
            f"{subjects.stream_prefix(process)}{number:016x}", chunk, f"{subject_of(PLATFORM_KEYS)}"
        )
    await world.evil.flush()
    await world.plane.broker.bus.flush()

    await keys.reload()
    assert keys.revision == revision
    assert world.plane.broker.bus.malformed.count == 50


@pytest.mark.parametrize(
    "subject",
    [
        subjects.request_to(API, ME),
        subjects.request_to(subjects.adapter(STATE_STORE), ME),
        subjects.view(ME),
        "pods.held.api-1",
    ],
)
async def test_no_receiver_publishes_to_a_subject_that_is_not_one_of_replies(
    world: World, subject: str
) -> None:
    answers: list[bytes] = []

    async def note(payload: bytes, _reply: str) -> None:
        answers.append(payload)

    bus = world.plane.broker.bus
    await bus.serve("$KV.state.victim", note)
    await bus.flush()
    await world.evil.publish(
        subject, codec.encode(world.event(ME.source)), reply="$KV.state.victim"
    )
    await world.send(subjects.request_to(API, ME), world.event(ME.source))
    await bus.flush()

    assert (answers, world.served) == ([], [ME.source])


async def test_a_pod_cannot_listen_for_others(world: World) -> None:
    heard: list[str] = []

    async def note(payload: bytes, _reply: str) -> None:
        heard.append(payload.decode())

    process = world.plane.broker.bus.process_id
    for subject in (
        subjects.requests_to(API),
        subjects.requests_to(subjects.adapter(STATE_STORE)),
        f"{subjects.reply_prefix(process)}>",
        subjects.VIEWS,
    ):
        await world.evil.serve(subject, note, "pods")
    await world.evil.flush()
    for _ in range(20):
        await world.send(subjects.request_to(API, ME), world.event(ME.source))

    assert (heard, world.served) == ([], [ME.source] * 20)

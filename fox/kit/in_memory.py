"""A deployment in memory: what NATS and the broker are to its components, for unit tests.

Components are served by the very ``ComponentServer`` that a pod runs, and what they send each other
passes the same frames, views, streams and checks. Two things differ: no message is too large, and
an exception of a handler that is no FoxError reaches the test as it is, with its traceback.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Mapping
from typing import Any

import msgspec

from broker.pour import Streamed, deliver
from broker.receiver import Handle, HandleStream, Reply
from broker.stream import Incoming, Outgoing
from broker.streams import Streams
from broker.views import ViewReply, ViewRequest
from fox.kit.context import Identity
from fox.kit.kit import Kit
from fox.kit.server import ComponentServer
from fox.kit.state_store import InMemoryStateStore
from model import codec, subjects
from model.component import ComponentDefinition, Value
from model.context import EventContext, adapter_source, view_of
from model.deployment import Deployment
from model.errors import BodyTooLarge, DeadlineExceeded, NoPodReady
from model.event import Event, Headers, Response
from model.state_store import STATE_STORE

HASH = "0" * 32
"""The content hash of every component: what is tested has not been deployed."""

EVENT_TTL_S = 30
_ERROR = 400


class EmittedEvent(msgspec.Struct, kw_only=True):
    """An event that a component has emitted.

    Attributes:
        source: Component that emitted it.
        component: Component that it is for.
        method: HTTP method.
        path: Percent-encoded path.
        query: Raw query string.
        headers: Names in lower case.
        body: As it travels.
        is_delivered: Whether its component has answered it below 400.
    """

    source: str
    component: str
    method: str
    path: str
    query: str
    headers: Headers
    body: bytes
    is_delivered: bool = False

    def json(self, kind: Any = Any) -> Any:
        """Return the body read as JSON; ``kind`` is a type to check it against."""
        return msgspec.json.decode(self.body, type=kind)


_decode_view_request = msgspec.msgpack.Decoder(ViewRequest).decode
_encode = msgspec.msgpack.Encoder().encode


class InMemoryDeployment:
    """Serves the components of one deployment in one virtual environment.

    Args:
        context: Of every event; its revisions do not matter.
        kits: The components, by name.
        outside: Definitions of those that only send.
        values: Variables of the virtual environment.

    Attributes:
        state_store: What the components keep.
        emitted: What they have emitted, in order, delivered or not.
    """

    def __init__(
        self,
        context: EventContext,
        kits: Mapping[str, Kit],
        outside: tuple[ComponentDefinition, ...],
        values: Mapping[str, Value],
    ) -> None:
        """Start every component."""
        definitions = [*(kit.definition(name) for name, kit in kits.items()), *outside]
        self.state_store = InMemoryStateStore()
        self._context = context
        self._values = dict(values)
        self._definitions = {each.name: each for each in definitions}
        self._deployment = Deployment(
            name=context.deployment,
            app=context.app,
            components=dict.fromkeys(self._definitions, HASH),
        )
        self._streams: Streams | None = None
        self._delivering: set[asyncio.Task[None]] = set()
        state_store = adapter_source(STATE_STORE), self._ask_state_store, _refuse_stream
        self._listening: dict[str, tuple[str, Handle, HandleStream]] = {
            subjects.adapter(STATE_STORE): state_store
        }
        self.emitted: list[EmittedEvent] = []
        self._stored: deque[tuple[EmittedEvent, str, bytes]] = deque()
        self._deduplication_ids: set[str] = set()
        for name, kit in kits.items():
            self._start(name, kit)

    def subject(self, component: str) -> str:
        """Return where requests to a component go."""
        return subjects.component(self._context.app, component, HASH)

    @property
    def streams(self) -> Streams:
        """All streams of the test; made within its loop."""
        if self._streams is None:
            self._streams = Streams("test", self)
        return self._streams

    def send(self, subject: str, payload: bytes, reply: str = "") -> bool:
        """Bring a stream's frame to its other end, in the next turn as NATS would."""
        asyncio.get_running_loop().call_soon(self.streams.take, subject, payload, reply)
        return True

    async def publish(self, subject: str, payload: bytes, reply: str = "") -> None:
        """Send a stream's frame; see ``broker.streams.Carrier``."""
        self.send(subject, payload, reply)

    async def request(
        self, subject: str, payload: bytes, timeout_s: float, body: Outgoing | None = None
    ) -> bytes:
        """Answer as the one who listens to ``subject`` does; see ``Requester``."""
        if subject == subjects.VIEW:
            return self._answer_view(payload)
        hop = subjects.hop(subject)
        if subject not in self._listening:
            raise NoPodReady(f"no pod of {hop} is ready", hop=hop)
        source = self._listening[subject][0]
        timer = asyncio.timeout(timeout_s)
        try:
            async with timer:
                answer = await self._handle(subject, payload)
        except TimeoutError as error:
            if not timer.expired():
                raise
            raise DeadlineExceeded(f"time ran out in {source}", hop=hop) from error
        stream = self._deliver(answer.stream, source) if answer.stream else ""
        status, headers = answer.status, answer.headers
        head = Response(status=status, headers=headers, source=source, stream=stream)
        return codec.encode(head, answer.body)

    async def _handle(self, subject: str, payload: bytes) -> Reply:
        _, handle, handle_stream = self._listening[subject]
        event, content = codec.decode_event(payload)
        if not event.stream:
            return await handle(event, content)
        incoming = self.streams.receive(event.stream)
        try:
            return await handle_stream(event, incoming)
        except BaseException:
            incoming.close()
            raise

    def _deliver(self, body: Streamed, source: str) -> str:
        """Begin to send an answer's body, and return the stream's subject."""
        outgoing = self.streams.send()
        task = asyncio.create_task(deliver(body, outgoing, source, "of a test"))
        self._delivering.add(task)
        task.add_done_callback(self._delivering.discard)
        return outgoing.subject

    async def store(
        self, subject: str, frame: bytes, *, deduplication_id: str = "", timeout_s: float
    ) -> bool:
        """Keep an event until ``deliver_emitted``; see ``EventStore``."""
        if deduplication_id in self._deduplication_ids:
            return False
        self._deduplication_ids |= {deduplication_id} - {""}
        target = subjects.target_of(subject)
        emitted = _shown(target, frame)
        self.emitted.append(emitted)
        self._stored.append((emitted, target, frame))
        return True

    async def deliver_emitted(self) -> None:
        """Deliver what was emitted, one after another, until nothing waits any more.

        Raises:
            Exception: Whatever a handler raises. What was emitted after its event waits.
        """
        while self._stored:
            emitted, target, frame = self._stored.popleft()
            event, body = codec.decode_event(frame)
            deadline_ms = int((time.time() + EVENT_TTL_S) * 1000)
            event = msgspec.structs.replace(event, deadline_ms=deadline_ms)
            answer = await self.request(target, codec.encode(event, body), EVENT_TTL_S)
            head, _ = codec.decode_response(answer)
            if head.stream:
                await self.streams.receive(head.stream).discard()
            emitted.is_delivered = head.status < _ERROR

    def _start(self, name: str, kit: Kit) -> None:
        identity = Identity(app=self._context.app, component=name, hash=HASH, pod=f"{name}-test")
        server = ComponentServer(kit, identity, self, store=self)
        self._listening[self.subject(name)] = server.source, server.handle, server.handle_stream

    def _answer_view(self, payload: bytes) -> bytes:
        asking = _decode_view_request(payload)
        view = view_of(
            self._context,
            self._deployment,
            self._definitions,
            self._values,
            asking.component,
            asking.hash,
        )
        return _encode(ViewReply(view=view))

    async def _ask_state_store(self, event: Event, body: codec.Body) -> Reply:
        answer = await self.state_store.request(
            STATE_STORE,
            event.method,
            event.path,
            query=event.query,
            headers=event.headers,
            body=bytes(body),
        )
        return answer.to_reply()


def _shown(target: str, frame: bytes) -> EmittedEvent:
    event, body = codec.decode_event(frame)
    return EmittedEvent(
        source=event.source.partition("@")[0],
        component=subjects.version_of(target)[1],
        method=event.method,
        path=event.path,
        query=event.query,
        headers=event.headers,
        body=bytes(body),
    )


async def _refuse_stream(_event: Event, _body: Incoming) -> Reply:
    raise BodyTooLarge("the state store takes no body that comes as a stream")

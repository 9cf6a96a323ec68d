"""A deployment in memory, which replaces NATS and the broker in unit tests.

The ``ComponentServer`` of pods serves the components, and their events pass the same frames, views,
streams and checks as in pods. There are two differences: no message is too large, and an exception
of a handler that is not a FoxError reaches the test unchanged, with its traceback.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any

import msgspec

from broker.dispatch.handling import Handle, HandleStream, Reply
from broker.dispatch.views import ViewReply
from broker.runtime.platform_clock import clock
from broker.streams.body_sender import StreamedBody, send_response_body
from broker.streams.incoming import IncomingStream
from broker.streams.outgoing import OutgoingStream
from broker.streams.registry import StreamRegistry
from fox.kit.kit import Kit
from fox.kit.server import ComponentServer
from fox.kit.state_store import InMemoryStateStore
from fox.kit.variables import Identity
from kubefox import codec, subjects
from kubefox.component import ComponentDefinition, Value
from kubefox.context import EventContext, adapter_source, view_of
from kubefox.deduplication import deduplication_id
from kubefox.delivery import Delivery
from kubefox.deployment import Deployment
from kubefox.errors import BodyTooLarge, DeadlineExceeded, NoPodReady
from kubefox.event import Event, Headers, ResponseHead
from kubefox.senders import Sender
from kubefox.state_store import STATE_STORE

HASH = "0" * 32
"""Content hash of every component in a test: the code has not been deployed."""

EVENT_TTL_S = 30
_FIRST_ERROR = 400


class EmittedEvent(msgspec.Struct, kw_only=True):
    """An event that a component emitted in a test; see ``TestClient.emitted``.

    Attributes:
        source: Name of the component that emitted it.
        component: Name of the component that handles it.
        method: HTTP method.
        path: Percent-encoded path.
        query: Raw query string.
        headers: Pairs of name and value; names are in lower case.
        body: The body, as bytes.
        timeout_s: Time limit of one attempt; None if ``emit`` got none.
        delay_s: Seconds until the first attempt; ``deliver_emitted`` does not wait for them.
        is_delivered: Whether its handler has answered with a status below 400.
    """

    source: str
    component: str
    method: str
    path: str
    query: str
    headers: Headers
    body: bytes
    timeout_s: float | None = None
    delay_s: float = 0
    is_delivered: bool = False

    def json(self, kind: Any = Any) -> Any:
        """Return the body decoded as JSON, checked against the type ``kind``."""
        return msgspec.json.decode(self.body, type=kind)


_encode = msgspec.msgpack.Encoder().encode


class InMemoryDeployment:
    """Serves the components of one deployment in one virtual environment.

    Args:
        context: Context of every event; its revisions are not used.
        kits: The components, by name.
        senders: Definitions of components that only send events.
        values: Variables of the virtual environment.

    Attributes:
        state_store: Contains the components' data.
        emitted: The emitted events in order, delivered or not.
    """

    def __init__(
        self,
        context: EventContext,
        kits: Mapping[str, Kit],
        senders: tuple[ComponentDefinition, ...],
        values: Mapping[str, Value],
    ) -> None:
        definitions = [*(kit.definition(name) for name, kit in kits.items()), *senders]
        self.state_store = InMemoryStateStore()
        self._context = context
        self._values = dict(values)
        self._definitions = {definition.name: definition for definition in definitions}
        self._deployment = Deployment(
            name=context.deployment,
            app=context.app,
            components=dict.fromkeys(self._definitions, HASH),
        )
        self._streams: StreamRegistry | None = None
        self._delivering: set[asyncio.Task[None]] = set()
        state_store = adapter_source(STATE_STORE), self._request_state_store, _refuse_stream
        self._servers: dict[str, tuple[str, Handle, HandleStream]] = {
            subjects.adapter(STATE_STORE): state_store
        }
        self.emitted: list[EmittedEvent] = []
        self._stored: deque[tuple[EmittedEvent, str, bytes]] = deque()
        self._deduplication_ids: set[str] = set()
        for name, kit in kits.items():
            self._start(name, kit)

    def subject(self, component: str) -> str:
        """Return the subject of a component."""
        return subjects.component(self._context.app, component, HASH)

    @property
    def streams(self) -> StreamRegistry:
        """The streams of the test; created on first use, in the test's event loop."""
        if self._streams is None:
            self._streams = StreamRegistry("test", self)
        return self._streams

    def send(self, subject: str, payload: bytes, reply: str = "") -> bool:
        """Pass a stream's frame to its other end, in the next loop iteration as NATS would."""
        asyncio.get_running_loop().call_soon(self.streams.receive_frame, subject, payload, reply)
        return True

    async def publish(self, subject: str, payload: bytes, reply: str = "") -> None:
        """Pass a stream's frame to its other end."""
        self.send(subject, payload, reply)

    @property
    def is_clustered(self) -> bool:
        """See ``BodyRequester``."""
        return False

    async def wait_ready(self, timeout_s: float) -> bool:
        """Return True: no connection can be lost here."""
        return True

    async def request(
        self, subject: str, payload: bytes, timeout_s: float, body: OutgoingStream | None = None
    ) -> bytes:
        """Return the reply of the component at ``subject``; see ``StreamingRequester``."""
        if fnmatchcase(subject, subjects.VIEWS):
            return self._answer_view(subjects.sender_of(subject))
        hop, subject = subjects.hop(subject), subjects.target_of_request(subject)
        if subject not in self._servers:
            raise NoPodReady(f"no pod of {hop} is ready", hop=hop)
        source = self._servers[subject][0]
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
        head = ResponseHead(status=status, headers=headers, source=source, stream=stream)
        return codec.encode(head, answer.body)

    async def _handle(self, subject: str, payload: bytes) -> Reply:
        _, handle, handle_stream = self._servers[subject]
        event, content = codec.decode_event(payload)
        if not event.stream:
            return await handle(event, content)
        incoming = self.streams.open_incoming(event.stream)
        try:
            return await handle_stream(event, incoming)
        except BaseException:
            incoming.close()
            raise

    def _deliver(self, body: StreamedBody, source: str) -> str:
        """Begin to send a response's body, and return the stream's subject."""
        outgoing = self.streams.open_outgoing()
        task = asyncio.create_task(send_response_body(body, outgoing, source, "of a test"))
        self._delivering.add(task)
        task.add_done_callback(self._delivering.discard)
        return outgoing.subject

    async def store(self, target: str, frame: bytes, *, timeout_s: float) -> bool:
        """Store an event until ``deliver_emitted``; see ``EventStore``."""
        emitted = _emitted_event(target, frame)
        event, _ = codec.decode_event(frame)
        if event.delivery is not None and event.delivery.key:
            place = self._context, emitted.source, emitted.component, event.delivery.key
            found = deduplication_id(*place)
            if found in self._deduplication_ids:
                return False
            self._deduplication_ids.add(found)
        self.emitted.append(emitted)
        self._stored.append((emitted, target, frame))
        return True

    async def deliver_emitted(self) -> None:
        """Deliver the stored events one after another, until none is left.

        Raises:
            Exception: A handler raised it. The events after its event stay stored.
        """
        while self._stored:
            emitted, target, frame = self._stored.popleft()
            event, body = codec.decode_event(frame)
            ttl_s = emitted.timeout_s or self._timeout_s(emitted.component) or EVENT_TTL_S
            event = msgspec.structs.replace(
                event, deadline_ms=int((clock.now_s() + ttl_s) * 1000), delivery=None
            )
            answer = await self.request(target, codec.encode(event, body), ttl_s)
            head, _ = codec.decode_response(answer)
            if head.stream:
                await self.streams.open_incoming(head.stream).discard()
            emitted.is_delivered = head.status < _FIRST_ERROR

    def _timeout_s(self, component: str) -> float | None:
        return self._definitions[component].default_timeout_s

    def _start(self, name: str, kit: Kit) -> None:
        identity = Identity(app=self._context.app, component=name, hash=HASH, pod=f"{name}-test")
        server = ComponentServer(kit, identity, self, store=self)
        self._servers[self.subject(name)] = server.source, server.handle, server.handle_stream

    def _answer_view(self, sender: Sender) -> bytes:
        component, _, digest = sender.source.partition("@")
        view = view_of(
            self._context,
            self._deployment,
            self._definitions,
            self._values,
            component,
            digest,
        )
        return _encode(ViewReply(view=view))

    async def _request_state_store(self, event: Event, body: codec.Body) -> Reply:
        answer = await self.state_store.request(
            STATE_STORE,
            event.method,
            event.path,
            query=event.query,
            headers=event.headers,
            body=bytes(body),
        )
        return answer.to_reply()


def _emitted_event(target: str, frame: bytes) -> EmittedEvent:
    event, body = codec.decode_event(frame)
    delivery = event.delivery or Delivery()
    return EmittedEvent(
        source=event.source.partition("@")[0],
        component=subjects.version_of(target)[1],
        method=event.method,
        path=event.path,
        query=event.query,
        headers=event.headers,
        body=bytes(body),
        timeout_s=delivery.timeout_ms / 1000 if delivery.timeout_ms else None,
        delay_s=round(max(0.0, (delivery.due_ms - event.sent_us / 1000) / 1000), 2),
    )


async def _refuse_stream(_event: Event, _body: IncomingStream) -> Reply:
    raise BodyTooLarge("the state store accepts no body that is a stream")

"""The context of one event: what was asked, for whom, and the way to other components."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from functools import cached_property
from typing import Any, Protocol
from urllib.parse import parse_qsl, unquote

import msgspec
from multidict import CIMultiDict, CIMultiDictProxy, MultiDict, MultiDictProxy
from opentelemetry import trace

from broker.pour import Chunks
from broker.stream import Incoming
from broker.telemetry.handling import UNMEASURED, Handling
from fox.kit.log import EventLogger
from fox.kit.response import Response, StreamedResponse, chunks_of
from model.component import Value
from model.context import ComponentView
from model.decoding import UNREADABLE
from model.errors import InvalidEvent, NotDeclared, UnsupportedContentType
from model.event import Event, Headers
from model.telemetry import AttributeValue

FORM = "application/x-www-form-urlencoded"


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """Which component version this process is.

    Attributes:
        app: Name of the app.
        component: Name of the component.
        hash: Full content hash.
        pod: Name of the pod.
    """

    app: str
    component: str
    hash: str
    pod: str = ""


class Emission(msgspec.Struct, frozen=True, kw_only=True):
    """What an event says that a component emits.

    Attributes:
        method: HTTP method.
        path: Percent-encoded path.
        query: Raw query string.
        headers: Names in lower case.
        body: With all the rest at most 512 KiB.
        key: An event of the same key within five minutes is this one; empty has no such.
    """

    method: str
    path: str
    query: str = ""
    headers: Headers = ()
    body: bytes = b""
    key: str = ""


class Transport(Protocol):
    """Carries a call from one component to a dependency: NATS in a pod, memory in a test."""

    async def call(
        self,
        ctx: Context,
        dependency: str,
        method: str,
        path: str,
        *,
        query: str,
        headers: Headers,
        body: bytes,
    ) -> Response:
        """Return the dependency's response; raise the FoxError that stopped it."""

    async def emit(self, ctx: Context, dependency: str, emission: Emission) -> bool:
        """Return once an event is stored, and whether it is new; raise what stopped it."""

    def stream(
        self,
        ctx: Context,
        dependency: str,
        method: str,
        path: str,
        *,
        query: str,
        headers: Headers,
        body: bytes | Chunks,
    ) -> AbstractAsyncContextManager[StreamedResponse]:
        """Open a call whose bodies may come and go in chunks; leaving the context ends it."""


class Env(dict[str, Value]):
    """The declared variables' values in the event's virtual environment."""

    def __missing__(self, name: str) -> Value:
        """Say why a name is not there."""
        raise NotDeclared(f"variable {name!r} has no value here: declare it with kit.env({name!r})")


class Context:
    """One event in a component's hands; lives as long as its handler, or its streams.

    Attributes:
        body: The request's body; empty when it comes as a stream, see ``stream``.
    """

    _incoming: Incoming | None = None
    _left_s: Callable[[], float] | None = None

    def __init__(
        self,
        event: Event,
        body: bytes,
        view: ComponentView,
        identity: Identity,
        transport: Transport,
        handling: Handling = UNMEASURED,
    ) -> None:
        """Made by the runtime, once per event."""
        self._event = event
        self._view = view
        self._identity = identity
        self._transport = transport
        self._handling = handling
        self.body = body

    @property
    def event(self) -> Event:
        """The event as it travelled."""
        return self._event

    @property
    def view(self) -> ComponentView:
        """What this component may know of the event's context."""
        return self._view

    @property
    def id(self) -> str:
        """Id of this event."""
        return self._event.id

    @property
    def type(self) -> str:
        """``http``, ``cron`` or ``component``."""
        return self._event.type

    @property
    def source(self) -> str:
        """Who sent it: ``<component>@<hash>`` or ``adapter/<kind>``."""
        return self._event.source

    @property
    def attempt(self) -> int:
        """Which delivery of an emitted event this is; above 1 it may have been handled before."""
        return self._event.attempt

    @property
    def method(self) -> str:
        """HTTP method."""
        return self._event.method

    @property
    def path(self) -> str:
        """Percent-encoded path."""
        return self._event.path

    @cached_property
    def segments(self) -> list[str]:
        """Decoded segments of the path; empty ones are left out."""
        return [unquote(each) for each in self._event.path.split("/") if each]

    @property
    def params(self) -> Mapping[str, str]:
        """What the route's rule captured, decoded."""
        return self._event.params

    @property
    def path_suffix(self) -> str:
        """What follows the prefix of a ``PathPrefix`` rule."""
        return self._event.params.get("path_suffix", "")

    @cached_property
    def query(self) -> MultiDictProxy[str]:
        """Query parameters without selectors, decoded, in order."""
        return MultiDictProxy(MultiDict(parse_qsl(self._event.query, keep_blank_values=True)))

    @cached_property
    def headers(self) -> CIMultiDictProxy[str]:
        """Headers without selectors; names in any case."""
        return CIMultiDictProxy(CIMultiDict(self._event.headers))

    @cached_property
    def env(self) -> Env:
        """Values of the declared variables; this event's own copy."""
        return Env(self._view.vars)

    @property
    def app(self) -> str:
        """Name of the app."""
        return self._view.app

    @property
    def deployment(self) -> str:
        """Name of the deployment that this event belongs to."""
        return self._view.deployment

    @property
    def virtual_environment(self) -> str:
        """Name of the virtual environment that this event belongs to."""
        return self._view.virtual_environment

    @property
    def release(self) -> str:
        """Id of the release, or empty when the deployment was named explicitly."""
        return self._view.release

    @property
    def is_released(self) -> bool:
        """Whether a plain URL led here."""
        return bool(self._view.release)

    @property
    def component(self) -> str:
        """Name of this component."""
        return self._identity.component

    @property
    def hash(self) -> str:
        """Full content hash of this component version."""
        return self._identity.hash

    @property
    def remaining_s(self) -> float:
        """Seconds until nobody waits for the answer any more; never below 0."""
        return max(0.0, self.deadline_ms / 1000 - time.time())

    @cached_property
    def log(self) -> EventLogger:
        """Logger whose lines carry this event's fields."""
        return EventLogger(f"component.{self._identity.component}")

    def span(self, name: str, **attributes: AttributeValue) -> AbstractContextManager[trace.Span]:
        """Trace a part of the handler: ``with ctx.span("price", items=3) as span: …``.

        What is called within belongs to it. It is an OpenTelemetry span: ``set_attribute`` and
        the like work on it, and an exception that passes through it marks it as failed.

        Args:
            name: Of the span; few different ones, for it is what spans are grouped by.
            attributes: What is known already.
        """
        return self._handling.span(name, attributes)

    def stream(self) -> AsyncIterator[bytes]:
        """Return the request's body as it comes: ``async for chunk in ctx.stream()``.

        A handler that is declared with ``streams_body=True`` takes one of any length, and no more
        of it is sent than it reads. Otherwise, and if it is small, it comes as one chunk.
        """
        return chunks_of(self._incoming or self.body)

    def go_on(self, left_s: Callable[[], float], body: Incoming | None = None) -> None:
        """Live beyond the event's deadline, as a stream does; for the runtime.

        Args:
            left_s: Tells the time that is left for a call that is made now.
            body: The request's, if it is read while it comes.
        """
        self._left_s = left_s
        self._incoming = body or self._incoming

    @property
    def deadline_ms(self) -> int:
        """Unix time until which a call that is made now may take; for the runtime."""
        if self._left_s is None:
            return self._event.deadline_ms
        return int((time.time() + self._left_s()) * 1000)

    @property
    def handling(self) -> Handling:
        """How this event is measured; for the runtime."""
        return self._handling

    def text(self) -> str:
        """Return the body as UTF-8 text.

        Raises:
            InvalidEvent: It is not UTF-8.
        """
        try:
            return self.body.decode()
        except UnicodeDecodeError as error:
            raise InvalidEvent("the body is not UTF-8 text") from error

    def json(self, kind: Any = Any) -> Any:
        """Return the body read as JSON.

        Args:
            kind: Type to check it against, such as a msgspec Struct.

        Raises:
            InvalidEvent: It is not JSON, or not of that type.
        """
        try:
            return msgspec.json.decode(self.body, type=kind)
        except UNREADABLE as error:
            raise InvalidEvent(f"the body cannot be read as JSON: {error}") from error

    def form(self) -> MultiDictProxy[str]:
        """Return the body read as an HTML form.

        Raises:
            UnsupportedContentType: The request says that it is something else.
        """
        media = self.headers.get("content-type", "").partition(";")[0].strip().lower()
        if media != FORM:
            raise UnsupportedContentType(f"expected a body of type {FORM}, not {media or 'none'}")
        return MultiDictProxy(MultiDict(parse_qsl(self.text(), keep_blank_values=True)))

    async def request(
        self,
        dependency: str,
        method: str,
        path: str,
        *,
        query: str = "",
        headers: Headers = (),
        body: bytes = b"",
    ) -> Response:
        """Call a declared dependency within this event's deployment and deadline.

        Args:
            dependency: Name of the component or adapter.
            method: HTTP method, or the adapter's operation.
            path: Percent-encoded path.
            query: Raw query string.
            headers: Names in lower case.
            body: Of any length.

        Raises:
            NotDeclared: The component does not declare the dependency.
            FoxError: Whatever stopped the call: no pod, time, a mismatch, the handler.
        """
        return await self._transport.call(
            self, dependency, method, path, query=query, headers=headers, body=body
        )

    async def emit(self, dependency: str, emission: Emission) -> bool:
        """Store an event that a declared component handles later; see ``ComponentClient.emit``.

        Raises:
            NotDeclared: The component does not declare the dependency.
            FoxError: Whatever stopped it from being stored.
        """
        return await self._transport.emit(self, dependency, emission)

    def stream_request(
        self,
        dependency: str,
        method: str,
        path: str,
        *,
        query: str = "",
        headers: Headers = (),
        body: bytes | Chunks = b"",
    ) -> AbstractAsyncContextManager[StreamedResponse]:
        """Open a call whose bodies may come and go in chunks; see ``request`` for the rest."""
        return self._transport.stream(
            self, dependency, method, path, query=query, headers=headers, body=body
        )

"""The context of one event: its request, its deployment, and calls to other components."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from functools import cached_property
from typing import Any, Protocol
from urllib.parse import parse_qsl, unquote

import msgspec
from multidict import CIMultiDict, CIMultiDictProxy, MultiDict, MultiDictProxy
from opentelemetry import trace

from broker.runtime.platform_clock import clock
from broker.streams.body_sender import Chunks
from broker.streams.incoming import IncomingStream
from broker.telemetry.handler_telemetry import UNMEASURED, HandlerTelemetry
from fox.kit.log import EventLogger
from fox.kit.outgoing import EmitOptions, OutgoingRequest
from fox.kit.response import Response, StreamedResponse, chunks_of
from fox.kit.variables import Env, Identity
from kubefox.context import ComponentView
from kubefox.decoding import DECODE_ERRORS
from kubefox.errors import InvalidEvent, UnsupportedContentType
from kubefox.event import Event, Headers
from kubefox.telemetry import AttributeValue

logger = logging.getLogger(__name__)

FORM = "application/x-www-form-urlencoded"


class Transport(Protocol):
    """Carries requests from one component to another: NATS in a pod, memory in a unit test."""

    async def call(self, ctx: Context, dependency: str, request: OutgoingRequest) -> Response:
        """Send a request, and return the response with its whole body.

        Raises:
            FoxError: The call failed.
        """

    async def emit(
        self, ctx: Context, dependency: str, request: OutgoingRequest, options: EmitOptions
    ) -> bool:
        """Store an event, and return whether it is new; see ``ComponentClient.emit``.

        Raises:
            FoxError: The event is not stored.
        """

    def stream(
        self,
        ctx: Context,
        dependency: str,
        request: OutgoingRequest,
        chunks: Chunks | None = None,
    ) -> AbstractAsyncContextManager[StreamedResponse]:
        """Open a call whose bodies may be streams; leaving the context ends it.

        Args:
            ctx: Context of the event to which the call belongs.
            dependency: Name of the component.
            request: The request.
            chunks: Body to send in place of ``request.body``, as it is made.
        """


class Context:
    """One event, as its handler sees it.

    A handler gets the context as its only argument, and passes it to each call to another
    component and to each operation of a state store. It is valid until the handler has returned,
    and until its streams have ended.

    Attributes:
        body: The body of the request; empty for a handler with ``streams_body=True`` if the body
            is a stream: see ``stream``.
    """

    _incoming: IncomingStream | None = None
    _remaining_s: Callable[[], float] | None = None
    _limit_ms: int | None = None

    def __init__(
        self,
        event: Event,
        body: bytes,
        view: ComponentView,
        identity: Identity,
        transport: Transport,
        handling: HandlerTelemetry = UNMEASURED,
    ) -> None:
        self._event = event
        self._view = view
        self._identity = identity
        self._transport = transport
        self._handling = handling
        self.body = body

    @property
    def event(self) -> Event:
        """The event as it was received."""
        return self._event

    @property
    def view(self) -> ComponentView:
        """The part of the event's context that this component may see."""
        return self._view

    @property
    def id(self) -> str:
        """Id of the event."""
        return self._event.id

    @property
    def type(self) -> str:
        """Type of the event: ``http``, ``cron`` or ``component``."""
        return self._event.type

    @property
    def source(self) -> str:
        """Sender of the event: ``<component>@<hash>`` or ``adapter/<kind>``."""
        return self._event.source

    @property
    def attempt(self) -> int:
        """Number of this delivery of the event, from 1.

        Above 1, an earlier delivery may have been handled already, completely or in part: of an
        emitted event, or of an idempotent request whose pod died.
        """
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
        """Decoded segments of the path, without empty ones."""
        return [unquote(segment) for segment in self._event.path.split("/") if segment]

    @property
    def params(self) -> Mapping[str, str]:
        """Values that the route's rule captured, decoded: ``{id}`` is ``params["id"]``."""
        return self._event.params

    @property
    def path_suffix(self) -> str:
        """Rest of the path after the prefix of a ``PathPrefix`` rule."""
        return self._event.params.get("path_suffix", "")

    @cached_property
    def query(self) -> MultiDictProxy[str]:
        """Query parameters in their order, decoded, without selectors such as ``kf-dep``."""
        return MultiDictProxy(MultiDict(parse_qsl(self._event.query, keep_blank_values=True)))

    @cached_property
    def headers(self) -> CIMultiDictProxy[str]:
        """Headers without selectors; names are case-insensitive."""
        return CIMultiDictProxy(CIMultiDict(self._event.headers))

    @cached_property
    def env(self) -> Env:
        """Values of the declared variables, by name; a copy for this event.

        A name that has no value raises VariableMissing; one that is not declared, NotDeclared.
        """
        return Env(self._view, self._identity)

    @property
    def app(self) -> str:
        """Name of the app."""
        return self._view.app

    @property
    def deployment(self) -> str:
        """Name of the deployment to which the event belongs."""
        return self._view.deployment

    @property
    def virtual_environment(self) -> str:
        """Name of the virtual environment to which the event belongs."""
        return self._view.virtual_environment

    @property
    def release(self) -> str:
        """Id of the release; empty if the request named its deployment."""
        return self._view.release

    @property
    def is_released(self) -> bool:
        """Whether the request was routed by a release, and did not name its deployment."""
        return bool(self._view.release)

    @property
    def component(self) -> str:
        """Name of this component."""
        return self._identity.component

    @property
    def hash(self) -> str:
        """Full content hash of this component version, 32 hexadecimal characters."""
        return self._identity.hash

    @property
    def remaining_s(self) -> float:
        """Seconds until the event's deadline or the handler's time limit, at least 0."""
        return max(0.0, self.deadline_ms / 1000 - clock.now_s())

    @cached_property
    def log(self) -> EventLogger:
        """Logger; its lines carry the event's id, deployment and virtual environment."""
        return EventLogger(f"component.{self._identity.component}")

    def span(self, name: str, **attributes: AttributeValue) -> AbstractContextManager[trace.Span]:
        """Trace a part of the handler, as a context manager.

        Calls to other components within the context become children of the span. An exception
        that leaves the context marks the span as failed.

        Args:
            name: Name of the span. Use few different names: traces are grouped by name.
            attributes: First attributes of the span.

        Returns:
            A context manager whose value is an OpenTelemetry span.

        Example:
            >>> with ctx.span("price", items=3) as span:
            ...     span.set_attribute("currency", "EUR")
        """
        return self._handling.span(name, attributes)

    def stream(self) -> AsyncIterator[bytes]:
        """Return the chunks of the request's body as they arrive.

        For a handler with ``streams_body=True`` the body may have any length; the sender waits
        while the handler does not read. For other handlers, and for a short body, it is one chunk.

        Example:
            >>> async for chunk in ctx.stream():
            ...     size += len(chunk)
        """
        return chunks_of(self._incoming or self.body)

    def text(self) -> str:
        """Return the body decoded as UTF-8.

        Raises:
            InvalidEvent: The body is not UTF-8.
        """
        try:
            return self.body.decode()
        except UnicodeDecodeError as error:
            raise InvalidEvent("the body is not UTF-8 text") from error

    def json(self, kind: Any = Any) -> Any:
        """Return the body decoded as JSON.

        Args:
            kind: Type of the result, such as a ``msgspec.Struct``; the body is checked against it.

        Raises:
            InvalidEvent: The body is not JSON, or does not match ``kind``.
        """
        try:
            return msgspec.json.decode(self.body, type=kind)
        except DECODE_ERRORS as error:
            raise InvalidEvent(f"the body cannot be read as JSON: {error}") from error

    def form(self) -> MultiDictProxy[str]:
        """Return the fields of the body, an HTML form, in their order.

        Raises:
            UnsupportedContentType: The content type is not ``application/x-www-form-urlencoded``.
            InvalidEvent: The body is not UTF-8.
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
        """Call a declared component or adapter; ``ComponentClient`` is more convenient.

        Args:
            dependency: Name of the component or adapter.
            method: HTTP method, or the operation of an adapter.
            path: Percent-encoded path.
            query: Raw query string.
            headers: Headers; their names are in lower case.
            body: Bytes of any length.

        Raises:
            NotDeclared: The component does not declare the dependency.
            FoxError: The call failed; see ``ComponentClient.request``.
        """
        request = OutgoingRequest(method=method, path=path, query=query, headers=headers, body=body)
        return await self._transport.call(self, dependency, request)

    async def send(self, dependency: str, request: OutgoingRequest) -> Response:
        """Call a declared component; see ``ComponentClient.request``."""
        return await self._transport.call(self, dependency, request)

    async def emit(
        self, dependency: str, request: OutgoingRequest, options: EmitOptions | None = None
    ) -> bool:
        """Store an event for a declared component; see ``ComponentClient.emit``."""
        return await self._transport.emit(self, dependency, request, options or EmitOptions())

    def open_stream(
        self, dependency: str, request: OutgoingRequest, chunks: Chunks | None = None
    ) -> AbstractAsyncContextManager[StreamedResponse]:
        """Open a call whose bodies may be streams; see ``ComponentClient.stream``."""
        return self._transport.stream(self, dependency, request, chunks)

    def use_stream_deadline(
        self, remaining_s: Callable[[], float], body: IncomingStream | None = None
    ) -> None:
        """Replace the event's deadline, which a stream may outlive; for the runtime.

        Args:
            remaining_s: Returns the time for a call that begins now.
            body: The request's body, if the handler reads it as a stream.
        """
        self._remaining_s = remaining_s
        self._incoming = body or self._incoming

    def limit_deadline(self, limit_ms: int | None) -> None:
        """Set the handler's own deadline, Unix time in ms, or remove it; for the runtime."""
        self._limit_ms = limit_ms

    @property
    def deadline_ms(self) -> int:
        """Deadline of a call that begins now, Unix time in milliseconds; for the runtime."""
        if self._remaining_s is None:
            deadline_ms = self._event.deadline_ms
        else:
            deadline_ms = int((clock.now_s() + self._remaining_s()) * 1000)
        return deadline_ms if self._limit_ms is None else min(deadline_ms, self._limit_ms)

    @property
    def handling(self) -> HandlerTelemetry:
        """Telemetry of the event; for the runtime."""
        return self._handling

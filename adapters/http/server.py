"""The HTTP adapter: each request becomes a genesis event, and the event's response answers it."""

from __future__ import annotations

import logging
import time
from functools import partial
from typing import Self

from adapters.http import bodies, codec, problems
from adapters.http.aiohttp_internals import HttpProcessingError
from adapters.http.capacity import Capacity
from adapters.http.clients import Clients
from adapters.http.explain import explanation_of
from adapters.http.kubefox_headers import KubefoxHeaders, selector_lines
from adapters.http.limits import HttpLimits
from adapters.http.listener import Listener
from adapters.http.request import Request
from adapters.http.response import HttpResponse, WrittenResponse
from adapters.http.selection import SelectionGate
from adapters.http.shared_port import SharedSockets
from adapters.http.trust import Trust
from adapters.http.turns import Turns
from broker.dispatch.broker import Broker
from broker.dispatch.request import DispatchRequest
from broker.runtime.open_files import raise_file_limit
from broker.runtime.settings import Settings
from broker.runtime.tls import ServerCertificate
from broker.streams.bodies import BodyMemory
from broker.streams.body_sender import BodySender, Chunks, single_chunk
from broker.streams.incoming import IncomingStream
from broker.telemetry.request_telemetry import RequestTelemetry
from kubefox.context import adapter_source
from kubefox.errors import FoxError, InternalError, InvalidContext, RouteNotFound
from kubefox.event import ResponseHead
from kubefox.selection import Access, Selection
from kubefox.share import PURPOSE
from kubefox.steps import TakesLong
from kubefox.stream import INLINE_BYTES
from routing.request import GenesisRequest
from routing.resolver import Decision
from routing.selectors import NO_SELECTORS, Selectors

logger = logging.getLogger(__name__)

KIND = "http"
READY_PATH = "/.well-known/kubefox/ready"
_SOURCE = adapter_source(KIND)
_RELEASED = Access.RELEASED
_TEXT = f"content-type: {problems.TEXT}\r\n"


class HttpAdapter:
    """Serves HTTP clients while its context lasts.

    Args:
        broker: Resolves and dispatches.
        settings: Of the process.
        limits: Of the adapter; None for those of the settings.
        sockets: Those of a port that other processes share; None to listen on a port of its own.
        certificate: For TLS; None for plain HTTP.

    Attributes:
        port: Port that the adapter listens on; 0 before it does.
    """

    kind = KIND
    is_inbound = True

    def __init__(
        self,
        broker: Broker,
        settings: Settings,
        limits: HttpLimits | None = None,
        sockets: SharedSockets | None = None,
        certificate: ServerCertificate | None = None,
    ) -> None:
        self._broker = broker
        self._settings = settings
        limits = limits or HttpLimits.of_settings(settings)
        self._limits = limits = limits.for_files(raise_file_limit())
        self._new_id = broker.telemetry.new_id
        self._measure = broker.telemetry.request_telemetry(_SOURCE)
        clients = Clients(settings)
        policy = Selection(settings.http_selection) if settings.http_selection else None
        share_keys = partial(broker.contexts.derived_keys, PURPOSE)
        self._selection = SelectionGate(policy, clients, share_keys)
        broker.store.keys.listen(self._selection.shares.forget)
        self._trust = Trust(clients)
        self._body_memory = BodyMemory(limits.body_limit_bytes, limits.body_memory_bytes)
        self._capacity = Capacity(limits)
        self._turns = Turns()
        self._listener = listener = Listener(
            self.handle,
            self._refuse,
            limits,
            self._turns,
            certificate.context if certificate else None,
        )
        self._selection.is_tls = certificate is not None
        metrics = broker.telemetry.metrics
        metrics.watch_gauge("http_connections", lambda: len(listener.connections))
        metrics.watch_counter("http_connections_evicted", lambda: listener.evicted)
        metrics.watch_gauge("http_selection", lambda: self._selection.listener_policy)
        self._kubefox_headers = KubefoxHeaders()
        self._sockets = sockets
        self.port = 0

    async def __aenter__(self) -> Self:
        """Start to listen.

        Raises:
            OSError: The port is in use, or the process may not use it.
        """
        if self._sockets is not None:
            self.port = await self._listener.open_shared(self._sockets)
        else:
            settings = self._settings
            self.port = await self._listener.open(settings.http_host, settings.http_port)
        self._selection.is_loopback = self._listener.is_loopback
        if not (self._settings.http_selection or self._listener.is_loopback):
            logger.info(
                "on %s only what is released can be selected; see FOX_HTTP_SELECTION", self.url
            )
        return self

    async def __aexit__(self, *_exception: object) -> None:
        """Accept no more connections, and finish the requests in flight."""
        # Without other processes on the port, the next request is refused in any case.
        grace_s = self._limits.idle_grace_s if self._sockets is not None else 0
        await self._listener.close(idle_grace_s=grace_s)

    @property
    def is_ready(self) -> bool:
        """Whether requests are accepted and routed by current data."""
        return self._listener.is_open and self._broker.is_ready

    @property
    def url(self) -> str:
        """Base URL for clients."""
        scheme = "https" if self._selection.is_tls else "http"
        return f"{scheme}://{self._settings.http_host}:{self.port}"

    @property
    def body_bytes(self) -> int:
        """Memory in use for the buffered bodies of requests in flight."""
        return self._body_memory.share.taken

    async def handle(self, request: Request) -> HttpResponse | WrittenResponse:
        """Return the response to a request; a failure becomes one too.

        Returns:
            A response to write, or the result of one that has been written in parts.

        Raises:
            ConnectionError: The client is not connected any more.
        """
        if request.message.path == READY_PATH:
            return self._readiness()
        telemetry = self._measure(self._new_id())
        try:
            response = await self._respond(request, telemetry)
        except BaseException as error:
            telemetry.abort(error)
            raise
        telemetry.end(response.status)
        return response

    async def _respond(
        self, request: Request, telemetry: RequestTelemetry
    ) -> HttpResponse | WrittenResponse:
        selectors = NO_SELECTORS
        try:
            parsed = codec.read_request(request.message, self._limits)
            self._describe(request, parsed, telemetry)
            access = _RELEASED
            if parsed.selectors is not NO_SELECTORS:
                records = self._broker.snapshot.records
                selectors, access, redirect = self._selection.admit(request, parsed, records)
                if redirect is not None:
                    return self._with_kubefox_headers(redirect, telemetry)
            if parsed.wants_explanation and self._trust.may_explain(request, parsed):
                snapshot = self._broker.snapshot
                return await explanation_of(parsed.genesis, selectors, snapshot, access)
            try:
                decision = self._broker.resolve(parsed.genesis, selectors, access)
            except TakesLong:
                decision = await self._broker.resolve_in_slices(parsed.genesis, selectors, access)
            event = self._event(parsed.genesis, decision, telemetry)
            self._capacity.admit(request, event.target.lane)
            if not self._turns.take(event.target.lane):
                await self._turns.wait(event.target.lane)
            if not request.has_body:
                return await self._send(request, telemetry, event)
            return await self._send_with_body(request, telemetry, event)
        except FoxError as error:
            return self._fail(error, request, telemetry, selectors)
        except ConnectionError:
            raise
        except Exception:
            logger.exception("event %s failed inside the platform", telemetry.event_id)
            failure = InternalError("the platform failed; see its log for this event id")
            return self._fail(failure, request, telemetry, selectors)

    def _describe(
        self, request: Request, parsed: codec.ParsedRequest, telemetry: RequestTelemetry
    ) -> None:
        """Tell telemetry what a request asks for, before its routing may fail."""
        genesis, sample = parsed.genesis, parsed.selectors.sample
        # Two strings, not the request: a finished event would keep the request's objects from being
        # reused by the allocator, which costs 3 % of the throughput.
        telemetry.method, telemetry.path = genesis.method, genesis.path
        if parsed.traceparent or sample:
            is_trusted = self._trust.may_trace(request, parsed)
            telemetry.continue_trace(parsed.traceparent, sample=sample, is_trusted=is_trusted)

    def _event(
        self, genesis: GenesisRequest, decision: Decision, telemetry: RequestTelemetry
    ) -> DispatchRequest:
        """Return the event of a request, with the target that routing has chosen."""
        target = self._broker.dispatch_target(decision.target)
        telemetry.set_target(target)
        return DispatchRequest(
            target=target,
            request=genesis,
            event_id=telemetry.event_id,
            source=_SOURCE,
            handler=target.route,
            params=decision.params,
            traceparent=telemetry.traceparent,
            sent_ns=telemetry.routed_ns,
        )

    async def _send_with_body(
        self, request: Request, telemetry: RequestTelemetry, event: DispatchRequest
    ) -> HttpResponse | WrittenResponse:
        """Send a request with its body: whole, or as a stream."""
        bodies.check_transfer_encoding(request)
        streams_body = event.target.streams_body
        if bodies.is_gathered(request, self._limits, streams_body=streams_body):
            return await self._send_gathered(request, telemetry, event)
        self._capacity.begin_stream(request)
        chunks = bodies.chunks_of(request, self._limits, self._limits.stream_max_s)
        return await self._send_with_stream(request, telemetry, event, chunks)

    async def _send_gathered(
        self, request: Request, telemetry: RequestTelemetry, event: DispatchRequest
    ) -> HttpResponse | WrittenResponse:
        """Send a request when its whole body has arrived; a large one follows as a stream."""
        with self._body_memory.buffer(event.target.lane) as held:
            body = await bodies.gather(request, held, self._limits)
            event.sent_ns = time.time_ns()
            if len(body) > self._limits.inline_body_bytes:
                return await self._send_with_stream(request, telemetry, event, single_chunk(body))
            event.body = body
            return await self._send(request, telemetry, event)

    async def _send_with_stream(
        self, request: Request, telemetry: RequestTelemetry, event: DispatchRequest, chunks: Chunks
    ) -> HttpResponse | WrittenResponse:
        """Send a request whose body follows as a stream, as fast as the component reads it."""
        streams, meter = self._broker.bus.streams, telemetry.stream_meters().request
        async with BodySender(streams, chunks, event.target.subject, meter) as body_stream:
            event.body_stream = body_stream
            return await self._send(request, telemetry, event)

    async def _send(
        self, request: Request, telemetry: RequestTelemetry, event: DispatchRequest
    ) -> HttpResponse | WrittenResponse:
        telemetry.sent_ns = event.sent_ns
        head, content = await self._broker.dispatch(event)
        if not self._turns.take(event.target.lane):
            await self._turns.wait(event.target.lane)
        telemetry.responder = head.responder
        if isinstance(content, IncomingStream):
            return await self._stream_response(request, telemetry, head, content)
        lines = self._kubefox_headers.lines(telemetry)
        return codec.to_response(head, content, lines, self._limits, request.private_lines)

    async def _stream_response(
        self,
        request: Request,
        telemetry: RequestTelemetry,
        head: ResponseHead,
        content: IncomingStream,
    ) -> WrittenResponse:
        """Write a response whose body comes as a stream."""
        with content:
            length = codec.length_of(head)
            if length is None or length > INLINE_BYTES:
                self._capacity.begin_stream(request)
            content.meter = telemetry.stream_meters().answer
            lines = self._kubefox_headers.lines(telemetry)
            response = codec.to_response(head, b"", lines, self._limits, request.private_lines)
            try:
                return await request.stream_response(response, content, length)
            except FoxError as error:
                logger.warning(
                    "the response to event %s was cut off: %s", telemetry.event_id, error
                )
                telemetry.fail(error)
                return WrittenResponse(error.http_status, keeps_connection=False)

    def _fail(
        self,
        failure: FoxError,
        request: Request,
        telemetry: RequestTelemetry,
        selectors: Selectors,
    ) -> HttpResponse:
        telemetry.fail(failure)
        accept = ",".join(request.message.headers.getall("accept", ()))
        lines = self._kubefox_headers.lines(telemetry)
        if telemetry.target is None and isinstance(failure, RouteNotFound | InvalidContext):
            # The selected deployment and environment exist, but no route of it matches.
            lines += selector_lines(selectors)
        if request.private_lines:
            lines += f"{request.private_lines}cache-control: no-store\r\n"
        return problems.to_response(
            failure, event_id=telemetry.event_id, kubefox_lines=lines, accept=accept
        )

    def _with_kubefox_headers(
        self, response: HttpResponse, telemetry: RequestTelemetry
    ) -> HttpResponse:
        lines = self._kubefox_headers.lines(telemetry)
        return HttpResponse(response.status, lines + response.header_lines, response.body)

    def _refuse(self, failure: HttpProcessingError) -> HttpResponse:
        """Return the response to bytes that are not a valid request."""
        error = problems.of_parse_failure(failure, self._limits)
        telemetry = self._measure(self._new_id())
        telemetry.fail(error)
        lines = self._kubefox_headers.lines(telemetry)
        response = problems.to_response(
            error, event_id=telemetry.event_id, kubefox_lines=lines, accept=""
        )
        telemetry.end(response.status)
        return response

    def _readiness(self) -> HttpResponse:
        if self.is_ready:
            return HttpResponse(200, _TEXT, b"ready\n")
        return HttpResponse(503, _TEXT, b"not ready\n")

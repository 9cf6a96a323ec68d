"""The HTTP adapter: one request becomes one genesis event, its answer becomes the response."""

from __future__ import annotations

import logging
from types import TracebackType
from typing import Self

from aiohttp import web

from adapters.http import codec, problems
from adapters.http.bodies import Bodies
from adapters.http.explaining import Explainer
from adapters.http.protocol import Server
from broker.broker import Broker
from broker.settings import Settings
from broker.telemetry.genesis import Genesis
from model.context import EventContext, adapter_source
from model.errors import FoxError, InternalError
from model.event import EventType

logger = logging.getLogger(__name__)

KIND = "http"
READY_PATH = "/.well-known/kubefox/ready"
_SOURCE = adapter_source(KIND)
_BACKLOG = 1024
_CLIENT_LEFT = 499


class HttpAdapter:
    """Serves end users while its context lasts.

    Args:
        broker: Resolves and dispatches.
        settings: Of the process.

    Attributes:
        port: The one it listens on; 0 before it does.
    """

    kind = KIND
    is_inbound = True

    def __init__(self, broker: Broker, settings: Settings) -> None:
        """Prepare to serve; entering the context starts."""
        self._broker = broker
        self._settings = settings
        self._explainer = Explainer(settings.explain_from)
        self._bodies = Bodies(settings.body_limit_bytes, settings.body_memory_bytes)
        self._runner = web.ServerRunner(
            Server(self.handle, self._refuse), shutdown_timeout=settings.drain_s
        )
        self._is_listening = False
        self.port = 0

    async def __aenter__(self) -> Self:
        """Take requests from now on.

        Raises:
            OSError: The port is in use, or may not be used.
        """
        settings = self._settings
        await self._runner.setup()
        site = web.TCPSite(
            self._runner,
            settings.http_host,
            settings.http_port,
            backlog=_BACKLOG,
            reuse_port=settings.http_workers > 1,
        )
        await site.start()
        self.port = self._runner.addresses[0][1]
        self._is_listening = True
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Take no new connections, and finish what runs."""
        self._is_listening = False
        await self._runner.cleanup()

    @property
    def is_ready(self) -> bool:
        """Whether requests are taken and routed by current data."""
        return self._is_listening and self._broker.is_ready

    @property
    def url(self) -> str:
        """Where end users send requests."""
        return f"http://{self._settings.http_host}:{self.port}"

    @property
    def body_bytes(self) -> int:
        """What the bodies of the requests in hand take."""
        return self._settings.body_memory_bytes - self._bodies.free_bytes

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Return the response to one request; every failure becomes a response too."""
        if request.raw_path == READY_PATH:
            return self._readiness()
        event_id = self._broker.next_event_id()
        try:
            with self._broker.telemetry.genesis(_SOURCE, event_id) as measured:
                response = await self._answer(request, event_id, measured)
                measured.answer(response.status)
                return response
        except ConnectionError as error:
            # The client has left. aiohttp keeps the error with the request, see ``bodies``.
            error.with_traceback(None)
            return web.Response(status=_CLIENT_LEFT)

    async def _answer(
        self, request: web.BaseRequest, event_id: str, measured: Genesis
    ) -> web.StreamResponse:
        known = _event_headers(event_id, measured)
        try:
            arrival = codec.read_request(request)
            if arrival.wants_explanation and self._explainer.allows(request.remote):
                return self._explainer.answer(arrival, self._broker.snapshot)
            return await self._serve(request, arrival, event_id, known, measured)
        except FoxError as error:
            return _fail(error, request, event_id, known, measured)
        except ConnectionError:
            raise
        except Exception:
            logger.exception("event %s failed", event_id)
            failure = InternalError("the platform failed; its log tells why under the event id")
            return _fail(failure, request, event_id, known, measured)

    async def _serve(
        self,
        request: web.BaseRequest,
        arrival: codec.Arrival,
        event_id: str,
        known: dict[str, str],
        measured: Genesis,
    ) -> web.Response:
        genesis, selectors = arrival.genesis, arrival.selectors
        measured.ask(genesis.method, genesis.path, arrival.traceparent, sample=selectors.sample)
        if arrival.traceparent:
            known.update(_event_headers(event_id, measured))
        decision = self._broker.resolve(genesis, selectors)
        target = decision.target
        measured.lead_to(target)
        known.update(_context_headers(target.context))
        with self._bodies.hold() as held:
            head, body = await self._broker.dispatch(
                target,
                event_id=event_id,
                type=EventType.HTTP,
                source=_SOURCE,
                handler=target.route,
                method=genesis.method,
                path=genesis.path,
                query=genesis.query,
                headers=genesis.headers,
                params=decision.params,
                body=await held.read(request),
                traceparent=measured.send(),
            )
        return codec.to_response(head, body, known)

    def _refuse(self, failure: FoxError) -> web.Response:
        """Return the response to what never became a request."""
        event_id = self._broker.next_event_id()
        with self._broker.telemetry.genesis(_SOURCE, event_id) as measured:
            measured.fail(failure)
            known = _event_headers(event_id, measured)
            return problems.to_response(failure, event_id=event_id, headers=known, accept="")

    def _readiness(self) -> web.Response:
        if self.is_ready:
            return web.Response(text="ready\n")
        return web.Response(text="not ready\n", status=503)


def _fail(
    failure: FoxError,
    request: web.BaseRequest,
    event_id: str,
    known: dict[str, str],
    measured: Genesis,
) -> web.Response:
    measured.fail(failure)
    accept = ",".join(request.headers.getall("accept", ()))
    return problems.to_response(failure, event_id=event_id, headers=known, accept=accept)


def _event_headers(event_id: str, measured: Genesis) -> dict[str, str]:
    if not measured.trace_id:
        return {"kubefox-event-id": event_id}
    return {"kubefox-event-id": event_id, "kubefox-trace-id": measured.trace_id}


def _context_headers(context: EventContext) -> dict[str, str]:
    headers = {
        "kubefox-app-deployment": context.deployment,
        "kubefox-virtual-environment": context.virtual_environment,
    }
    if context.release:
        headers["kubefox-release"] = context.release
    return headers

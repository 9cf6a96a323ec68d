"""The HTTP adapter: one request becomes one genesis event, its answer becomes the response."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from types import TracebackType
from typing import Self

from aiohttp.http_exceptions import HttpProcessingError

from adapters.http import bodies, codec, problems
from adapters.http.answer import Answer, lines_of
from adapters.http.explaining import Explainer
from adapters.http.listener import Listener
from adapters.http.request import Request
from broker.bodies import Bodies
from broker.broker import Broker
from broker.ids import new_id
from broker.lane import Lane
from broker.pour import Upload
from broker.settings import Settings
from broker.stream import Incoming, Outgoing
from broker.telemetry.genesis import Genesis
from model.codec import Body
from model.context import adapter_source
from model.errors import FoxError, InternalError, InvalidContext, RouteNotFound
from model.event import EventType, Response
from routing.request import GenesisRequest
from routing.selectors import NO_SELECTORS, Selectors

logger = logging.getLogger(__name__)

KIND = "http"
READY_PATH = "/.well-known/kubefox/ready"
_SOURCE = adapter_source(KIND)
_DEPLOYMENT = "kubefox-app-deployment"
_VIRTUAL_ENVIRONMENT = "kubefox-virtual-environment"
_TEXT = f"content-type: {problems.TEXT}\r\n"


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
        self._measure = broker.telemetry.genesis_of(_SOURCE)
        self._explainer = Explainer(settings.explain_from)
        self._bodies = Bodies(settings.body_limit_bytes, settings.body_memory_bytes)
        self._listener = Listener(self.handle, self._refuse)
        self.port = 0

    async def __aenter__(self) -> Self:
        """Take requests from now on.

        Raises:
            OSError: The port is in use, or may not be used.
        """
        settings = self._settings
        self.port = await self._listener.open(
            settings.http_host, settings.http_port, shares_port=settings.http_workers > 1
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Take no new connections, and finish what runs."""
        await self._listener.close(self._settings.drain_s)

    @property
    def is_ready(self) -> bool:
        """Whether requests are taken and routed by current data."""
        return self._listener.is_open and self._broker.is_ready

    @property
    def url(self) -> str:
        """Where end users send requests."""
        return f"http://{self._settings.http_host}:{self.port}"

    @property
    def body_bytes(self) -> int:
        """What those bodies of the requests in hand take that are read whole."""
        return self._settings.body_memory_bytes - self._bodies.free_bytes

    async def handle(self, request: Request) -> Answer:
        """Return the answer to one request; every failure becomes one too.

        Raises:
            ConnectionError: The client has left.
        """
        if request.message.path == READY_PATH:
            return self._readiness()
        measured = self._measure(new_id())
        try:
            answer = await self._answer(request, measured)
        except BaseException as error:
            measured.break_off(error)
            raise
        measured.end(answer.status)
        return answer

    async def _answer(self, request: Request, measured: Genesis) -> Answer:
        selectors = NO_SELECTORS
        try:
            arrival = codec.read_request(request.message)
            if arrival.wants_explanation and self._explainer.allows(request.remote):
                return self._explainer.answer(arrival, self._broker.snapshot)
            selectors = arrival.selectors
            genesis = arrival.genesis
            lane, params = self._decide(arrival, measured)
            if not request.has_body:
                return await self._send(request, measured, genesis, lane, params)
            bodies.check_coding(request)
            if not bodies.is_small(request, self._bodies):
                return await self._send_stream(request, measured, genesis, lane, params)
            with self._bodies.hold() as held:
                body, sent_ns = await bodies.read(request, held), time.time_ns()
                return await self._send(request, measured, genesis, lane, params, body, sent_ns)
        except FoxError as error:
            return _fail(error, request, measured, selectors)
        except ConnectionError:
            raise
        except Exception:
            logger.exception("event %s failed", measured.event_id)
            failure = InternalError("the platform failed; its log tells why under the event id")
            return _fail(failure, request, measured, selectors)

    def _decide(self, arrival: codec.Arrival, measured: Genesis) -> tuple[Lane, dict[str, str]]:
        """Return where a request goes, and what its rule captured."""
        genesis, selectors = arrival.genesis, arrival.selectors
        # Not the request itself: what has ended would keep all that hangs on it from being used
        # again, and that costs 3 % of the throughput.
        measured.method, measured.path = genesis.method, genesis.path
        if arrival.traceparent or selectors.sample:
            measured.go_on(arrival.traceparent, sample=selectors.sample)
        decision = self._broker.resolve(genesis, selectors)
        lane = self._broker.lane(decision.target)
        measured.lead_to(lane)
        return lane, decision.params

    async def _send_stream(
        self,
        request: Request,
        measured: Genesis,
        genesis: GenesisRequest,
        lane: Lane,
        params: dict[str, str],
    ) -> Answer:
        """Send a request whose body follows, as fast as the component reads it."""
        chunks, subject = bodies.chunks_of(request), lane.subject
        meter = measured.flows().request
        async with Upload(self._broker.bus.streams, chunks, subject, meter) as upload:
            return await self._send(request, measured, genesis, lane, params, upload=upload)

    async def _send(
        self,
        request: Request,
        measured: Genesis,
        genesis: GenesisRequest,
        lane: Lane,
        params: dict[str, str],
        body: Body = b"",
        sent_ns: int = 0,
        upload: Outgoing | None = None,
    ) -> Answer:
        measured.sent_ns = sent_ns = sent_ns or measured.routed_ns
        head, content = await self._broker.dispatch(
            lane,
            event_id=measured.event_id,
            type=EventType.HTTP,
            source=_SOURCE,
            handler=lane.route,
            method=genesis.method,
            path=genesis.path,
            query=genesis.query,
            headers=genesis.headers,
            params=params,
            body=body,
            traceparent=measured.traceparent,
            sent_ns=sent_ns,
            upload=upload,
        )
        if isinstance(content, Incoming):
            return await self._pass_on(request, measured, head, content)
        return codec.to_answer(head, content, _known(measured))

    async def _pass_on(
        self,
        request: Request,
        measured: Genesis,
        head: Response,
        content: Incoming,
    ) -> Answer:
        """Write an answer whose body comes as a stream, and return what was written of it."""
        with content:
            content.meter = measured.flows().answer
            answer = codec.to_answer(head, b"", _known(measured))
            length = codec.length_of(head)
            try:
                await request.answer(answer, content, length)
            except FoxError as error:
                logger.warning("the answer to event %s was cut: %s", measured.event_id, error)
                measured.fail(error)
                return answer._replace(status=error.http_status)
        return answer

    def _refuse(self, failure: HttpProcessingError) -> Answer:
        """Return the answer to what never became a request."""
        error = problems.of_parser(failure)
        measured = self._measure(new_id())
        measured.fail(error)
        known = _known(measured)
        answer = problems.to_answer(error, event_id=measured.event_id, known=known, accept="")
        measured.end(answer.status)
        return answer

    def _readiness(self) -> Answer:
        if self.is_ready:
            return Answer(200, _TEXT, b"ready\n")
        return Answer(503, _TEXT, b"not ready\n")


def _fail(failure: FoxError, request: Request, measured: Genesis, selectors: Selectors) -> Answer:
    measured.fail(failure)
    accept = ",".join(request.message.headers.getall("accept", ()))
    known = _known(measured)
    if measured.lane is None and isinstance(failure, RouteNotFound | InvalidContext):
        # What the client named is there, only no route of it fits.
        known += lines_of(_names(selectors))
    return problems.to_answer(failure, event_id=measured.event_id, known=known, accept=accept)


def _names(selectors: Selectors) -> Iterator[tuple[str, str]]:
    if selectors.deployment:
        yield _DEPLOYMENT, selectors.deployment
    if selectors.virtual_environment:
        yield _VIRTUAL_ENVIRONMENT, selectors.virtual_environment


def _known(measured: Genesis) -> str:
    """Return the lines of the ``kubefox-…`` headers, as far as they are known."""
    lane, event_id, trace_id = measured.lane, measured.event_id, measured.trace_id
    notes = (lane.notes or _note(lane)) if lane else ""
    if not trace_id:
        return f"kubefox-event-id: {event_id}\r\n{notes}"
    return f"kubefox-event-id: {event_id}\r\nkubefox-trace-id: {trace_id}\r\n{notes}"


def _note(lane: Lane) -> str:
    """Return the lines that tell of a lane's context; they are made once."""
    context = lane.context
    headers = [
        (_DEPLOYMENT, context.deployment),
        (_VIRTUAL_ENVIRONMENT, context.virtual_environment),
    ]
    if context.release:
        headers.append(("kubefox-release", context.release))
    lane.notes = lines_of(headers)
    return lane.notes

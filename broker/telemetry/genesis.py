"""A genesis event, from its arrival at an adapter to its answer."""

from __future__ import annotations

from collections.abc import Callable
from time import time_ns

import msgspec

from broker.ids import span_of
from broker.lane import Lane
from broker.telemetry import trace_context
from broker.telemetry.flows import Flows
from broker.telemetry.metrics import Window, end_genesis
from broker.telemetry.records import MAX_PATH, GenesisRecord
from broker.telemetry.scope import Scope, Scopes
from broker.telemetry.span import ERROR_STATUS
from broker.telemetry.tracing import Tracing
from model.errors import FoxError

_CLIENT_GONE = 499
_CLIENT_GONE_CODE = "client_gone"


class Genesis(msgspec.Struct, gc=False, eq=False):
    """A genesis event while telemetry is off.

    Attributes:
        event_id: Id of the event.
        trace_id: Of its trace, or empty.
        traceparent: What it is to carry, or nothing: see ``trace_context``.
        method: HTTP method that is asked for, or empty.
        path: That is asked for, percent-encoded; or empty.
        lane: Where routing led it, once it has.
        routed_ns: When it was decided on (Unix time), once it was.
        sent_ns: When it was sent, once it was.
    """

    event_id: str
    trace_id: str = ""
    traceparent: str = ""
    method: str = ""
    path: str = ""
    lane: Lane | None = None
    routed_ns: int = 0
    sent_ns: int = 0

    def go_on(self, traceparent: str, *, sample: bool) -> None:
        """Go on with a trace that the client began, or trace what it wants to see traced.

        Args:
            traceparent: What the client sent, or empty.
            sample: Whether the client wants it traced.
        """
        outer = trace_context.parse(traceparent) if traceparent else None
        if outer is not None:
            trace_id, span_id, is_sampled = outer
            self.trace_id = trace_id
            self.traceparent = trace_context.write(trace_id, span_id, is_sampled=is_sampled)

    def lead_to(self, lane: Lane) -> None:
        """Note what routing decided."""
        self.routed_ns = time_ns()
        self.lane = lane

    def flows(self) -> Flows:
        """Return what counts its streams."""
        return Flows()

    def fail(self, failure: FoxError) -> None:
        """Note why it fails."""

    def end(self, status: int) -> None:
        """Note the status of its answer: it is over."""

    def break_off(self, error: BaseException) -> None:
        """Note that it ends without an answer."""


class MeasuredGenesis(Genesis, gc=False, eq=False, kw_only=True):
    """A genesis event, counted and traced; made by ``measured_by``.

    Attributes:
        scopes: Of the adapter.
        start_ns: When it arrived (Unix time).
        end_ns: When it was answered, once it was.
        status: HTTP status of the answer, once there is one.
        is_sampled: Whether its trace is wanted.
        parent_id: Span id that the client sent, or empty.
        error: Code of the failure, or empty.
        streams: What counts its streams, once something does.
    """

    scopes: Scopes
    start_ns: int
    end_ns: int = 0
    status: int = 0
    is_sampled: bool = False
    parent_id: str = ""
    error: str = ""
    streams: Flows | None = None

    def go_on(self, traceparent: str, *, sample: bool) -> None:
        """Go on with a trace that the client began, or trace what it wants to see traced."""
        outer = trace_context.parse(traceparent) if traceparent else None
        if outer is not None:
            self.trace_id, self.parent_id, self.is_sampled = outer
            self.traceparent = self._own_traceparent()
        if sample:
            self.sample()

    def lead_to(self, lane: Lane) -> None:
        """Note what routing decided."""
        self.routed_ns = time_ns()
        self.lane = lane
        if lane.scope is None:
            self.scopes.bind(lane)

    def flows(self) -> Flows:
        """Return what counts its streams."""
        if self.streams is None:
            self.streams = Flows(self.scope)
        return self.streams

    def fail(self, failure: FoxError) -> None:
        """Note why it fails."""
        self.error = failure.code

    def break_off(self, error: BaseException) -> None:
        """Note that it ends without an answer: it has failed, or the client is gone."""
        if isinstance(error, FoxError):
            self.fail(error)
            self.end(error.http_status)
        else:
            self.error = _CLIENT_GONE_CODE
            self.end(_CLIENT_GONE)

    def end(self, status: int) -> None:
        """End it: it is counted soon, but a trace that is to be kept is kept at once."""
        self.status = status
        self.end_ns = time_ns()
        settling = self.scopes.settling
        if status >= ERROR_STATUS and not self.is_sampled:
            # At once: the rings of other processes go round quickly.
            self.scopes.tracing.keep(self.trace_id)
        # As Settling.put: a call less.
        ended = settling.ended
        if not ended:
            settling.begin()
        ended.append(self)

    @property
    def scope(self) -> Scope:
        """Whom it is for, as far as that is known."""
        lane = self.lane
        return (lane and lane.scope) or self.scopes.nowhere

    def record(self) -> GenesisRecord:
        """Return what is put by of it."""
        scope, lane = self.scope, self.lane
        return GenesisRecord(
            self.trace_id,
            self.parent_id,
            self.event_id,
            self.method,
            self.path[:MAX_PATH],
            scope.labels,
            scope.release,
            lane.component if lane else "",
            lane.subject if lane else "",
            lane.route if lane else 0,
            self.start_ns,
            self.routed_ns,
            self.sent_ns,
            self.end_ns,
            self.status,
            self.error,
            self.streams.figures() if self.streams else None,
        )

    def sample(self) -> None:
        """Let its trace be wanted."""
        self.is_sampled = True
        self.traceparent = self._own_traceparent()

    def _own_traceparent(self) -> str:
        span_id = span_of(self.event_id)
        return trace_context.write(self.trace_id, span_id, is_sampled=self.is_sampled)


def measured_by(scopes: Scopes) -> Callable[[str], MeasuredGenesis]:
    """Return what makes the genesis events of an adapter, by their ids; each begins now."""
    threshold = scopes.threshold

    def make(event_id: str) -> MeasuredGenesis:
        # In a trace of its own, until it is told of another one.
        genesis = MeasuredGenesis(event_id, event_id, scopes=scopes, start_ns=time_ns())
        if event_id < threshold:
            genesis.sample()
        return genesis

    return make


def settle_genesis(tracing: Tracing, ended: list[MeasuredGenesis]) -> None:
    """Count events, and keep the traces of those that were the slowest for a while."""
    kept, is_any_wanted = tracing.kept, False
    for each in ended:
        scopes, lane, end_ns = each.scopes, each.lane, each.end_ns
        words = scopes.nowhere.words if lane is None else lane.words
        window = scopes.window
        if end_ns > window.end_ns:
            window = scopes.window = Window(end_ns)
        is_slowest = end_genesis(words, each.status, end_ns - each.start_ns, window)
        trace_id = each.trace_id
        if is_slowest and lane is not None and not each.is_sampled:
            tracing.keep(trace_id)
        if each.traceparent or trace_id in kept:
            is_any_wanted = True
    tracing.finish_all(ended, is_any_wanted=is_any_wanted)

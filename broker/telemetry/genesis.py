"""A genesis event, from its arrival at an adapter to its answer."""

from __future__ import annotations

import time

from broker.ids import span_of
from broker.lane import Lane
from broker.telemetry import trace_context
from broker.telemetry.flows import Flows
from broker.telemetry.handling import MAX_PATH
from broker.telemetry.metrics import IN_FLIGHT, Window, end, end_genesis
from broker.telemetry.records import GenesisRecord
from broker.telemetry.scope import Scope, Scopes
from broker.telemetry.span import ERROR_STATUS
from model.errors import FoxError

_CLIENT_GONE = 499
_CLIENT_GONE_CODE = "client_gone"


class Genesis:
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

    # What most events never change lies in the class: half of what making one costs.
    trace_id = traceparent = method = path = ""
    lane: Lane | None = None
    routed_ns = sent_ns = 0

    def __init__(self, event_id: str) -> None:
        """Begin without a trace."""
        self.event_id = event_id

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
        self.routed_ns = time.time_ns()
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


class MeasuredGenesis(Genesis):
    """A genesis event, counted and traced.

    Args:
        scopes: Of the adapter.
        event_id: Id of the event.
    """

    _parent_id = _error = ""
    _is_sampled = False
    _flows: Flows | None = None

    def __init__(self, scopes: Scopes, event_id: str) -> None:
        """Begin now, in a trace of its own."""
        self._scopes = scopes
        self.event_id = self.trace_id = event_id
        # To read it from the class would cost five times as much.
        self.traceparent = ""
        self._start_ns = time.time_ns()
        if event_id < scopes.threshold:
            self._sample()

    def go_on(self, traceparent: str, *, sample: bool) -> None:
        """Go on with a trace that the client began, or trace what it wants to see traced."""
        outer = trace_context.parse(traceparent) if traceparent else None
        if outer is not None:
            self.trace_id, self._parent_id, self._is_sampled = outer
            self.traceparent = self._own_traceparent()
        if sample:
            self._sample()

    def lead_to(self, lane: Lane) -> None:
        """Note what routing decided."""
        self.routed_ns = time.time_ns()
        self.lane = lane
        words = lane.words or self._scopes.bind(lane)
        words[IN_FLIGHT] += 1

    def flows(self) -> Flows:
        """Return what counts its streams."""
        if self._flows is None:
            self._flows = Flows(self._scope)
        return self._flows

    def fail(self, failure: FoxError) -> None:
        """Note why it fails."""
        self._error = failure.code

    def break_off(self, error: BaseException) -> None:
        """Note that it ends without an answer: it has failed, or the client is gone."""
        if isinstance(error, FoxError):
            self.fail(error)
            self.end(error.http_status)
        else:
            self._error = _CLIENT_GONE_CODE
            self.end(_CLIENT_GONE)

    def end(self, status: int) -> None:
        """End it: it is counted soon, but a trace that is to be kept is kept at once."""
        self._status = status
        self._end_ns = time.time_ns()
        settling = self._scopes.settling
        if status >= ERROR_STATUS and not self._is_sampled:
            # At once: the rings of other processes go round quickly.
            settling.tracing.keep(self.trace_id)
        # As Settling.put: a call less.
        ended = settling.ended
        if not ended:
            settling.begin()
        ended.append(self)

    def settle(self) -> None:
        """Count it, and keep its trace if it was the slowest for a while."""
        scopes, status, lane = self._scopes, self._status, self.lane
        end_ns, tracing = self._end_ns, scopes.settling.tracing
        duration_ns, is_slowest = end_ns - self._start_ns, False
        if lane is None:
            scopes.nowhere.words[IN_FLIGHT] += 1
            end(scopes.nowhere.words, status, duration_ns)
        else:
            window = scopes.window
            if end_ns > window.end_ns:
                window = scopes.window = Window(end_ns)
            is_slowest = end_genesis(lane.words, status, duration_ns, window)
        trace_id, is_sampled = self.trace_id, bool(self.traceparent) and self._is_sampled
        if is_slowest and not is_sampled:
            tracing.keep(trace_id)
        # As finish: a call less for nearly all.
        if is_sampled or trace_id in tracing.kept:
            tracing.finish(self, trace_id, is_sampled=is_sampled)
        else:
            tracing.recent.append(self)

    @property
    def _scope(self) -> Scope:
        lane = self.lane
        scope = lane.scope if lane else None
        return scope or self._scopes.nowhere

    def record(self) -> GenesisRecord:
        """Return what is put by of it."""
        scope, lane = self._scope, self.lane
        return GenesisRecord(
            self.trace_id,
            self._parent_id,
            self.event_id,
            self.method,
            self.path[:MAX_PATH],
            scope.labels,
            scope.release,
            lane.component if lane else "",
            lane.subject if lane else "",
            lane.route if lane else 0,
            self._start_ns,
            self.routed_ns,
            self.sent_ns,
            self._end_ns,
            self._status,
            self._error,
            self._flows.figures() if self._flows else None,
        )

    def _sample(self) -> None:
        self._is_sampled = True
        self.traceparent = self._own_traceparent()

    def _own_traceparent(self) -> str:
        span_id = span_of(self.event_id)
        return trace_context.write(self.trace_id, span_id, is_sampled=self._is_sampled)

"""A genesis event, from its arrival at an adapter to its answer."""

from __future__ import annotations

import time
from types import TracebackType
from typing import TYPE_CHECKING, Self

from broker.telemetry import trace_context
from broker.telemetry.flows import Flows
from broker.telemetry.handling import MAX_PATH
from broker.telemetry.records import GenesisRecord
from broker.telemetry.scope import Scope, Scopes
from broker.telemetry.span import ERROR_STATUS
from broker.telemetry.tracing import Tracing
from model.errors import FoxError

if TYPE_CHECKING:
    # A pod has no use for routing: importing it takes time and memory.
    from routing.bindings import Target

_CLIENT_GONE = 499
_CLIENT_GONE_CODE = "client_gone"


class Genesis:
    """A genesis event while telemetry is off.

    Attributes:
        trace_id: Of its trace, or empty.
        target: What routing decided, once it has.
    """

    target: Target | None = None

    def __init__(self) -> None:
        """Begin without a trace."""
        self.trace_id = ""
        self._traceparent = ""

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace_back: TracebackType | None,
    ) -> None:
        """End."""

    def ask(self, method: str, path: str, traceparent: str = "", *, sample: bool = False) -> None:
        """Note what is asked for.

        Args:
            method: HTTP method.
            path: Percent-encoded.
            traceparent: What the client sent, or empty.
            sample: Whether the client wants it traced.
        """
        outer = trace_context.parse(traceparent) if traceparent else None
        if outer is not None:
            self.trace_id, self._traceparent = outer.trace_id, traceparent

    def lead_to(self, target: Target) -> None:
        """Note what routing decided."""
        self.target = target

    def send(self) -> str:
        """Note that it is sent now, and return its ``traceparent``."""
        return self._traceparent

    def flows(self) -> Flows:
        """Return what counts its streams."""
        return Flows()

    def fail(self, failure: FoxError) -> None:
        """Note why it fails."""

    def answer(self, status: int) -> None:
        """Note the status of its answer."""


class MeasuredGenesis(Genesis):
    """A genesis event, counted and traced.

    Args:
        event_id: Id of the event.
        scopes: Of the adapter.
        tracing: Takes its spans.
    """

    # What most events never change lies in the class: half of what making one costs.
    _parent_id = _method = _path = _error = _hop_id = ""
    _status = _routed_ns = _sent_ns = 0
    _scope: Scope | None = None
    _flows: Flows | None = None

    def __init__(self, event_id: str, scopes: Scopes, tracing: Tracing) -> None:
        """Begin now, in a trace of its own."""
        self._event_id = event_id
        self._scopes, self._tracing = scopes, tracing
        self.trace_id = trace_id = trace_context.new_trace_id()
        self._is_sampled = trace_context.is_chosen(trace_id, scopes.threshold)
        self._start_ns = time.time_ns()

    def ask(self, method: str, path: str, traceparent: str = "", *, sample: bool = False) -> None:
        """Note what is asked for; a trace that the client began is gone on with."""
        self._method, self._path = method, path
        outer = trace_context.parse(traceparent) if traceparent else None
        if outer is not None:
            self.trace_id, self._parent_id, self._is_sampled = outer
        if sample:
            self._is_sampled = True

    def lead_to(self, target: Target) -> None:
        """Note what routing decided."""
        self._routed_ns = time.time_ns()
        self.target = target
        self._scope = self._scopes.of(target.context)
        self._scope.series.in_flight += 1

    def send(self) -> str:
        """Note that it is sent now, and return its ``traceparent``."""
        self._sent_ns = time.time_ns()
        trace_id = self.trace_id
        # A span's id need only be new in its trace; the client's trace may be with us twice.
        is_own = not self._parent_id
        self._hop_id = hop_id = trace_id[:16] if is_own else trace_context.new_span_id()
        return f"00-{trace_id}-{hop_id}{trace_context.SAMPLED if self._is_sampled else '-00'}"

    def flows(self) -> Flows:
        """Return what counts its streams."""
        if self._flows is None:
            self._flows = Flows((self._scope or self._scopes.nowhere).series)
        return self._flows

    def fail(self, failure: FoxError) -> None:
        """Note why it fails."""
        self._status, self._error = failure.http_status, failure.code

    def answer(self, status: int) -> None:
        """Note the status of its answer."""
        self._status = status

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace_back: TracebackType | None,
    ) -> None:
        """Count it, and keep its trace if it failed or was the slowest for a while."""
        self._end_ns = end_ns = time.time_ns()
        if error is not None:
            self._break_off(error)
        scope, status, duration_ns = self._scope, self._status, end_ns - self._start_ns
        is_wanted = status >= ERROR_STATUS
        if scope is None:
            self._scope = scope = self._scopes.nowhere
        else:
            scope.series.in_flight -= 1
            is_wanted = is_wanted or scope.is_slowest(duration_ns, end_ns)
        scope.series.record(status, duration_ns / 1e9)
        if is_wanted and not self._is_sampled:
            self._tracing.keep(self.trace_id)
        self._tracing.finish(self, self.trace_id, is_sampled=self._is_sampled)

    def record(self) -> GenesisRecord:
        """Return what is put by of it."""
        scope, target = self._scope or self._scopes.nowhere, self.target
        return GenesisRecord(
            self.trace_id,
            self._hop_id or trace_context.new_span_id(),
            self._parent_id,
            self._event_id,
            self._method,
            self._path[:MAX_PATH],
            scope.labels,
            scope.release,
            target.component if target else "",
            target.subject if target else "",
            target.route if target else 0,
            self._start_ns,
            self._routed_ns,
            self._sent_ns,
            self._end_ns,
            self._status,
            self._error,
            self._flows.figures() if self._flows else None,
        )

    def _break_off(self, error: BaseException) -> None:
        if isinstance(error, FoxError):
            self.fail(error)
        else:
            self._status, self._error = _CLIENT_GONE, _CLIENT_GONE_CODE

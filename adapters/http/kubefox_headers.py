"""The ``kubefox-…`` headers of a response."""

from __future__ import annotations

from adapters.http.response import render_header_lines
from broker.telemetry.request_telemetry import RequestTarget, RequestTelemetry
from routing.selectors import Selectors

MAX_CACHED_CONTEXTS = 4_096
_DEPLOYMENT = "kubefox-app-deployment"
_VIRTUAL_ENVIRONMENT = "kubefox-virtual-environment"


class KubefoxHeaders:
    """Makes the ``kubefox-…`` header lines; the lines of each context are made once and cached.

    Args:
        max_cached: Contexts in the cache; it is emptied when it is full.
    """

    def __init__(self, max_cached: int = MAX_CACHED_CONTEXTS) -> None:
        self._max_cached = max_cached
        # By the token of the context.
        self._context_lines: dict[str, str] = {}

    def lines(self, telemetry: RequestTelemetry) -> str:
        """Return the lines for the event's id, trace and context, as far as they are known."""
        target, event_id, trace_id = telemetry.target, telemetry.event_id, telemetry.trace_id
        if target is None:
            context_lines = ""
        else:
            context_lines = self._context_lines.get(target.token) or self._add(target)
        if not trace_id:
            return f"kubefox-event-id: {event_id}\r\n{context_lines}"
        return f"kubefox-event-id: {event_id}\r\nkubefox-trace-id: {trace_id}\r\n{context_lines}"

    def _add(self, target: RequestTarget) -> str:
        context = target.context
        headers = [
            (_DEPLOYMENT, context.deployment),
            (_VIRTUAL_ENVIRONMENT, context.virtual_environment),
        ]
        if context.release:
            headers.append(("kubefox-release", context.release))
        if len(self._context_lines) >= self._max_cached:
            self._context_lines.clear()
        lines = self._context_lines[target.token] = render_header_lines(headers)
        return lines


def selector_lines(selectors: Selectors) -> str:
    """Return the lines for the deployment and the virtual environment that the client selects."""
    headers = (
        (_DEPLOYMENT, selectors.deployment),
        (_VIRTUAL_ENVIRONMENT, selectors.virtual_environment),
    )
    return render_header_lines((name, value) for name, value in headers if value)

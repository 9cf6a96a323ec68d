"""The rights to ask for an explanation and for a trace: for trusted clients, at a limited rate.

A client is trusted by its network (``adapters.http.clients``). A share is no such right: its holder
may see the page, and not what it is made of. What an untrusted client asks for is ignored. A
trusted client that asks for too many explanations is told so, because it does not want its request
to be served.
"""

from __future__ import annotations

import time

from adapters.http.clients import Clients
from adapters.http.codec import ParsedRequest
from adapters.http.rate_limit import RateLimit
from adapters.http.request import Request
from kubefox.errors import Overloaded

EXPLANATIONS_PER_S = 10
EXPLANATIONS_AT_ONCE = 50
TRACES_PER_S = 50
TRACES_AT_ONCE = 200

_FLAGS = slice(53, 55)
_SAMPLED = 1


class Trust:
    """Decides which clients get explanations and traces.

    Args:
        clients: Tells trusted clients.
    """

    def __init__(self, clients: Clients) -> None:
        self._clients = clients
        self._explanations = RateLimit(EXPLANATIONS_PER_S, EXPLANATIONS_AT_ONCE)
        self._traces = RateLimit(TRACES_PER_S, TRACES_AT_ONCE)

    def may_explain(self, request: Request, parsed: ParsedRequest) -> bool:
        """Return whether a request that asks for an explanation gets one.

        Raises:
            Overloaded: Its client has asked for too many.
        """
        client = self._clients.trusted_address(request, parsed)
        if client and not self._explanations.take(client, time.monotonic()):
            raise Overloaded(
                f"this client has asked for more than {EXPLANATIONS_PER_S} explanations a second"
            )
        return bool(client)

    def may_trace(self, request: Request, parsed: ParsedRequest) -> bool:
        """Return whether a request asks for a trace and gets one."""
        if not (parsed.selectors.sample or is_sampled(parsed.traceparent)):
            return False
        client = self._clients.trusted_address(request, parsed)
        return bool(client) and self._traces.take(client, time.monotonic())


def is_sampled(traceparent: str) -> bool:
    """Return whether a valid ``traceparent`` asks for a trace."""
    return bool(traceparent) and bool(int(traceparent[_FLAGS], 16) & _SAMPLED)

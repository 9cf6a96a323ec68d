"""The versions that a request may select on this listener, and its share.

The decision costs nothing for a plain URL. It knows no names: whether a virtual environment allows
the selection is decided by routing, with the ``Access`` that is granted here.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from adapters.http.clients import Clients
from adapters.http.codec import ParsedRequest
from adapters.http.preview_cookie import VARY_LINE, cookie_line, redirect_without_token
from adapters.http.request import Request
from adapters.http.response import HttpResponse
from kubefox.errors import NotFound
from kubefox.selection import Access, ListenerPolicy, Selection, granted_access
from routing.selectors import Selectors, Source
from routing.shares import END, Shares, choose, is_opening
from routing.snapshot.records import Records

# Reading a member of an enumeration takes longer than reading a constant.
_OPEN, _RELEASED = Selection.OPEN, Selection.RELEASED
_ALL_OPEN, _ONLY_RELEASED = Access.OPEN, Access.RELEASED

Admission = tuple[Selectors, Access, HttpResponse | None]
"""The selection of a request, its limits, and the answer if it is not routed."""


class SelectionGate:
    """Decides what requests may select.

    Args:
        policy: Policy of the listener; None for the default.
        clients: Tells direct requests from others.
        keys: Returns the keys of shares.
        now: Clock, Unix time in seconds.

    Attributes:
        shares: Verifies the shares of requests.
        is_loopback: Whether the listener can be reached from this machine only.
        is_tls: Whether its clients speak TLS.
    """

    def __init__(
        self,
        policy: Selection | None,
        clients: Clients,
        keys: Callable[[], Sequence[bytes]],
        now: Callable[[], float] = time.time,
    ) -> None:
        self._policy = policy
        self._clients = clients
        self.shares = Shares(keys)
        self._now = now
        self.is_loopback = False
        self.is_tls = False

    @property
    def listener_policy(self) -> ListenerPolicy:
        """The policy of the listener; known when it is open."""
        if self._policy is not None:
            return ListenerPolicy[self._policy.name]
        if self.is_loopback and not self._clients.has_proxies:
            return ListenerPolicy.OPEN_IF_DIRECT
        return ListenerPolicy.RELEASED

    def _cookie_line(self, token: str, max_age_s: int, parsed: ParsedRequest) -> str:
        return cookie_line(token, max_age_s, parsed, is_tls=self.is_tls)

    def admit(self, request: Request, parsed: ParsedRequest, records: Records) -> Admission:
        """Return what a request with selectors may select.

        If the answer depends on more than the URL, ``request.private_lines`` is set.

        Args:
            request: The request.
            parsed: The request, as routing needs it.
            records: The platform's records.

        Raises:
            NotFound: A share alone selects, and it is not valid here.
        """
        selectors = parsed.selectors
        if selectors.depends_on_headers or selectors.share is not None:
            request.private_lines = VARY_LINE
        policy = self._policy
        if policy is None:
            policy = _OPEN if self._is_open_by_default(request, parsed) else _RELEASED
        if selectors.share is None:
            return selectors, (_ALL_OPEN if policy is _OPEN else _ONLY_RELEASED), None
        return self._with_share(request, parsed, policy, records)

    def _is_open_by_default(self, request: Request, parsed: ParsedRequest) -> bool:
        clients = self._clients
        return self.is_loopback and not clients.has_proxies and clients.is_direct(request, parsed)

    def _with_share(
        self, request: Request, parsed: ParsedRequest, policy: Selection, records: Records
    ) -> Admission:
        selectors, token = parsed.selectors, parsed.selectors.share or ""
        opens = is_opening(selectors, parsed.genesis.method)
        if token == END and opens:
            removing = self._cookie_line("", 0, parsed)
            redirect = redirect_without_token(parsed, removing + VARY_LINE)
            return selectors, Access.RELEASED, redirect
        found = None
        if policy is not _RELEASED:
            found = self.shares.find(token, parsed.genesis.host, records, self._now())
        try:
            chosen, found = choose(selectors, found)
        except NotFound:
            if selectors.share_source is Source.COOKIE:
                request.private_lines += self._cookie_line("", 0, parsed)
            raise
        access = granted_access(policy, has_share=found is not None)
        if found is None or not opens:
            return chosen, access, None
        setting = self._cookie_line(token, int(found.claims.expires_at_s - self._now()), parsed)
        if "text/html" in parsed.adapter_headers.get("accept", ""):
            redirect = redirect_without_token(parsed, setting + VARY_LINE)
            return chosen, access, redirect
        # A program may not keep cookies: it gets its answer at once.
        request.private_lines += setting
        return chosen, access, None

"""Shares as requests carry them: verified tokens, and the cookie that keeps a preview."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from http import HTTPStatus
from urllib.parse import quote

import msgspec

from adapters.http.codec import ParsedRequest
from adapters.http.response import HttpResponse
from kubefox import share
from kubefox.errors import FoxError
from kubefox.share import Claims
from routing.bounded_cache import BoundedCache
from routing.selectors import SHARE, Selectors
from routing.snapshot.records import Records

COOKIE = SHARE
END = "end"
"""Value of ``kf-share`` in a URL that ends the preview."""

VARY_LINE = (
    "vary: cookie, kf-dep, kf-ve, kf-share, kubefox-app-deployment, kubefox-virtual-environment, "
    "kubefox-share\r\n"
)
"""Header line of an answer that another request for the same URL may not get."""

_MAX_CACHED = 1_024
_ATTRIBUTES = "Path=/; HttpOnly; SameSite=Lax"
# What the path and the query of a URL may hold; a backslash, which browsers read as a slash, is
# not among it.
_KEPT = "/%:@!$&'()*+,;=~-._?"


class OpenedShare(msgspec.Struct, frozen=True):
    """A share whose token is verified.

    Attributes:
        claims: Rights that it gives.
        selectors: Those of its requests; one object, so that the resolver's memo is found again.
    """

    claims: Claims
    selectors: Selectors

    def covers(self, selectors: Selectors) -> bool:
        """Return whether a request selects what it allows."""
        wanted = selectors.deployment, selectors.virtual_environment
        return wanted == (self.claims.deployment, self.claims.virtual_environment)


class Shares:
    """Verifies the tokens of requests; each once.

    Args:
        keys: Returns the keys for ``kubefox.share.PURPOSE``.
    """

    def __init__(self, keys: Callable[[], Sequence[bytes]]) -> None:
        self._keys = keys
        self._opened: BoundedCache[str, OpenedShare] = BoundedCache(_MAX_CACHED)

    def find(self, token: str, host: str, records: Records, now_s: float) -> OpenedShare | None:
        """Return the share of a token; None if it is not valid, has ended or was revoked.

        The cost does not depend on the number of shares.

        Args:
            token: From the client.
            host: Host of the request, perhaps with a port.
            records: The platform's records.
            now_s: Unix time.
        """
        opened = self._opened.get(token) or self._open(token)
        if opened is None:
            return None
        claims = opened.claims
        entry = records.shares.get(claims.name)
        if entry is None or now_s >= claims.expires_at_s or not claims.matches(entry.record):
            return None
        return opened if not claims.host or claims.host == host_name(host) else None

    def forget(self) -> None:
        """Verify all tokens again: the keys have changed, and one may have been removed."""
        self._opened = BoundedCache(_MAX_CACHED)

    def _open(self, token: str) -> OpenedShare | None:
        try:
            claims = share.verified(token, self._keys())
        except FoxError:
            return None
        selectors = Selectors(
            deployment=claims.deployment, virtual_environment=claims.virtual_environment
        )
        opened = OpenedShare(claims, selectors)
        self._opened.put(token, opened)
        return opened


def host_name(host: str) -> str:
    """Return the name in a Host header, in lower case and without the port."""
    name, colon, port = host.lower().rpartition(":")
    return (name if colon and port.isdecimal() else host.lower()).rstrip(".")


def cookie_line(token: str, max_age_s: int, parsed: ParsedRequest, *, is_tls: bool) -> str:
    """Return the header line that sets the cookie of a preview; without a token, removes it."""
    secure = "; Secure" if is_tls or _is_https(parsed) else ""
    return f"set-cookie: {COOKIE}={token}; Max-Age={max_age_s}; {_ATTRIBUTES}{secure}\r\n"


def redirect_without_token(parsed: ParsedRequest, lines: str) -> HttpResponse:
    """Return the redirect to the same URL without selectors.

    The token is in no address that the page could pass on (Referer), and in no bookmark.

    Args:
        parsed: The request.
        lines: Further header lines.
    """
    genesis = parsed.genesis
    path = quote(genesis.path, _KEPT, errors="surrogateescape")
    query = quote(genesis.query, _KEPT, errors="surrogateescape")
    # Two slashes at the begin would name another host.
    location = f"/.{path}" if path.startswith("//") else path
    target = f"{location}?{query}" if query else location
    return HttpResponse(
        HTTPStatus.SEE_OTHER,
        f"location: {target}\r\ncache-control: no-store\r\nreferrer-policy: no-referrer\r\n{lines}",
    )


def _is_https(parsed: ParsedRequest) -> bool:
    """Return whether the client speaks HTTPS with the proxy, as far as the proxy says so."""
    headers = parsed.adapter_headers
    if headers.get("x-forwarded-proto", "").rpartition(",")[2].strip().lower() == "https":
        return True
    forwarded = headers.get("forwarded", "").lower().replace('"', "").replace(" ", "")
    return "proto=https" in forwarded.replace(",", ";").split(";")

"""The cookie that keeps a client in a preview, and the answers that set and remove it."""

from __future__ import annotations

from http import HTTPStatus
from urllib.parse import quote

from adapters.http.codec import ParsedRequest
from adapters.http.response import HttpResponse
from routing.selectors import SHARE

COOKIE = SHARE

VARY_LINE = (
    "vary: cookie, kf-dep, kf-ve, kf-share, kubefox-app-deployment, kubefox-virtual-environment, "
    "kubefox-share\r\n"
)
"""Header line of an answer that another request for the same URL may not get."""

_ATTRIBUTES = "Path=/; HttpOnly; SameSite=Lax"
# What the path and the query of a URL may hold; a backslash, which browsers read as a slash, is
# not among it.
_KEPT = "/%:@!$&'()*+,;=~-._?"


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

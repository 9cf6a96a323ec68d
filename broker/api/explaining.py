"""A URL, as a person writes it, explained as the request that a browser would make of it."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import quote, urlsplit

from model.errors import InvalidRequest
from model.event import Headers
from routing.explain import Explanation, explain
from routing.request import GenesisRequest
from routing.selectors import extract
from routing.snapshot import Snapshot

# What a browser leaves as it is; everything else it percent-encodes.
_KEPT = "/%:@!$&'()*+,;=~-._?"


def explain_url(url: str, method: str, headers: Iterable[str], snapshot: Snapshot) -> Explanation:
    """Return who would serve a request, and why.

    Args:
        url: Absolute, or a path with a query.
        method: HTTP method.
        headers: ``Name: value``, in order.
        snapshot: What routing knows.

    Raises:
        InvalidRequest: The URL, a header or a selector cannot be read.
    """
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise InvalidRequest(f"URL {url!r} cannot be read: {error}") from error
    if not parts.path.startswith("/") and (parts.path or not parts.netloc):
        raise InvalidRequest(f"URL {url!r} is neither absolute nor a path that begins with /")
    selectors, query, kept = extract(quote(parts.query, _KEPT), _headers(headers))
    hosts = [value for name, value in kept if name == "host"]
    request = GenesisRequest(
        host=hosts[0] if hosts else parts.netloc.rpartition("@")[2],
        method=method.upper(),
        path=quote(parts.path or "/", _KEPT),
        query=query,
        headers=kept,
    )
    return explain(request, selectors, snapshot)


def _headers(lines: Iterable[str]) -> Headers:
    pairs = [line.partition(":") for line in lines]
    for name, colon, _ in pairs:
        if not name.strip() or not colon:
            raise InvalidRequest(f"header {name!r} is not of the form 'Name: value'")
    return tuple((name.strip().lower(), value.strip()) for name, _, value in pairs)

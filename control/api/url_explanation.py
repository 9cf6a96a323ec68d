"""Explanation of a URL: it becomes the request that a browser would send."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import quote, urlsplit

from kubefox.errors import InvalidRequest
from kubefox.event import Headers
from kubefox.selection import Access
from kubefox.steps import Steps
from routing.explain import Explanation, explain
from routing.request import GenesisRequest
from routing.selectors import extract
from routing.snapshot.snapshot import Snapshot

# Characters that a browser does not percent-encode in a path or query.
_KEPT = "/%:@!$&'()*+,;=~-._?"


def explain_url(
    url: str, method: str, headers: Iterable[str], snapshot: Snapshot
) -> Steps[Explanation]:
    """Return, in steps, which component version would serve a request, and why.

    Args:
        url: An absolute URL, or a path with or without a query.
        method: HTTP method.
        headers: Header lines ``Name: value``, in order.
        snapshot: The data that routing uses.

    Raises:
        InvalidRequest: The URL, a header or a selector is not valid.
    """
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise InvalidRequest(f"URL {url!r} is invalid: {error}") from error
    if not parts.path.startswith("/") and (parts.path or not parts.netloc):
        raise InvalidRequest(
            f"URL {url!r} is invalid: expected an absolute URL, or a path that begins with /"
        )
    selectors, query, kept = extract(quote(parts.query, _KEPT), _headers(headers))
    hosts = [value for name, value in kept if name == "host"]
    request = GenesisRequest(
        host=hosts[0] if hosts else parts.netloc.rpartition("@")[2],
        method=method.upper(),
        path=quote(parts.path or "/", _KEPT),
        query=query,
        headers=kept,
    )
    # What a request with every right would get; the explanation names the policy that decides.
    return (yield from explain(request, selectors, snapshot, Access.SIGNED))


def _headers(lines: Iterable[str]) -> Headers:
    pairs = [line.partition(":") for line in lines]
    for name, colon, _ in pairs:
        if not name.strip() or not colon:
            raise InvalidRequest(f"header {name!r} is invalid: expected 'Name: value'")
    return tuple((name.strip().lower(), value.strip()) for name, _, value in pairs)

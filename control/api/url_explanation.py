"""Explanation of a URL: it becomes the request that a browser would send."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple
from urllib.parse import quote, urlsplit

from msgspec.structs import replace

from kubefox.errors import InvalidRequest, NotFound
from kubefox.event import Headers
from kubefox.selection import Access
from kubefox.steps import Steps
from routing.explain import explain
from routing.explanation import ClientError, ExplainedShare, Explanation
from routing.request import GenesisRequest
from routing.selectors import NO_SELECTORS, Selectors, extract
from routing.shares import END, OpenedShare, Shares, choose, fault_of, is_opening
from routing.snapshot.snapshot import Snapshot

# Characters that a browser does not percent-encode in a path or query.
_KEPT = "/%:@!$&'()*+,;=~-._?"
_ALTERED = "its token was altered, or is not of this platform"
_OTHER_NAMES = "the request selects something else"
_OPENS = "a browser gets a cookie, and is redirected to the URL without the token"
_ENDS = "the cookie of the preview is removed, and the client is redirected to the URL without it"


class ShareCheck(NamedTuple):
    """The keys and the time that the check of a share needs besides the records.

    Attributes:
        keys: Returns the keys of shares.
        now_s: Unix time.
    """

    keys: Callable[[], Sequence[bytes]]
    now_s: float


def explain_url(
    url: str, method: str, headers: Iterable[str], snapshot: Snapshot, check: ShareCheck
) -> Steps[Explanation]:
    """Return, in steps, which component version would serve a request, and why.

    Args:
        url: An absolute URL, or a path with or without a query.
        method: HTTP method.
        headers: Header lines ``Name: value``, in order.
        snapshot: The data that routing uses.
        check: For the share of the request.

    Raises:
        InvalidRequest: The URL, a header or a selector is not valid.
    """
    request, selectors = _request_of(url, method, headers)
    if selectors.share is None:
        # What a request with every right would get; the explanation names the policy that decides.
        return (yield from explain(request, selectors, snapshot, Access.SIGNED))
    opens = is_opening(selectors, request.method)
    if selectors.share == END and opens:
        redirected = yield from explain(request, NO_SELECTORS, snapshot, Access.SIGNED)
        return replace(redirected, share=ExplainedShare(effect=_ENDS))
    opened = Shares(check.keys).open(selectors.share)
    fault = _ALTERED
    if opened is not None:
        fault = fault_of(opened.claims, request.host, snapshot.records, check.now_s)
    try:
        chosen, found = choose(selectors, None if fault else opened)
    except NotFound as error:
        return _refused(error, selectors, _shown(opened, fault))
    fault = fault or ("" if found else _OTHER_NAMES)
    explanation = yield from explain(request, chosen, snapshot, Access.SIGNED)
    effect = _OPENS if opens and not fault else ""
    return replace(explanation, share=_shown(opened, fault, effect))


def _request_of(url: str, method: str, headers: Iterable[str]) -> tuple[GenesisRequest, Selectors]:
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
    return request, selectors


def _headers(lines: Iterable[str]) -> Headers:
    pairs = [line.partition(":") for line in lines]
    for name, colon, _ in pairs:
        if not name.strip() or not colon:
            raise InvalidRequest(f"header {name!r} is invalid: expected 'Name: value'")
    return tuple((name.strip().lower(), value.strip()) for name, _, value in pairs)


def _refused(error: NotFound, selectors: Selectors, share: ExplainedShare) -> Explanation:
    """Return the explanation of a request whose share alone selects, and is not valid."""
    return Explanation(
        selectors=replace(selectors, share=None),
        error=ClientError(code=error.code, detail=error.detail),
        status=error.http_status,
        share=share,
    )


def _shown(opened: OpenedShare | None, fault: str, effect: str = "") -> ExplainedShare:
    if opened is None:
        return ExplainedShare(fault=fault)
    claims = opened.claims
    return ExplainedShare(
        name=claims.name,
        deployment=claims.deployment,
        virtual_environment=claims.virtual_environment,
        host=claims.host,
        expires_at_s=claims.expires_at_s,
        fault=fault,
        effect=effect,
    )

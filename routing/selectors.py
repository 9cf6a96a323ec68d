"""Selectors: a request names a deployment and a virtual environment itself.

==========================  ====================  =================================
selector                    query and header      long query and header
==========================  ====================  =================================
deployment                  ``kf-dep``            ``kubefox-app-deployment``
virtual environment         ``kf-ve``             ``kubefox-virtual-environment``
trace this request          ``kf-sample``         ``kubefox-telemetry-sample``
token of a share            ``kf-share``          ``kubefox-share``
==========================  ====================  =================================

A selector is taken from the query first, then from the headers, then from the sticky cookies
``kf-dep``, ``kf-ve`` and ``kf-share``. A cookie without a value is ignored. All selectors are
removed from the request, including those that were not used; the rest of the request keeps its
bytes.
"""

from __future__ import annotations

import re
from enum import Enum

import msgspec
from msgspec import UNSET

from kubefox.errors import InvalidSelector
from kubefox.event import Headers
from routing.bounded_cache import BoundedCache
from routing.memo import Memo
from routing.request_text import MAX_PAIRS, check_count, decoded_plus

_DEPLOYMENT = "kf-dep"
_VIRTUAL_ENVIRONMENT = "kf-ve"
_SAMPLE = "kf-sample"
SHARE = "kf-share"
"""Name of the parameter, header and cookie with the token of a share; see ``kubefox.share``."""

_NAMES = {
    "kf-dep": _DEPLOYMENT,
    "kubefox-app-deployment": _DEPLOYMENT,
    "kf-ve": _VIRTUAL_ENVIRONMENT,
    "kubefox-virtual-environment": _VIRTUAL_ENVIRONMENT,
    "kf-sample": _SAMPLE,
    "kubefox-telemetry-sample": _SAMPLE,
    "kf-share": SHARE,
    "kubefox-share": SHARE,
}
SELECTOR_NAMES = frozenset(_NAMES)
"""Names of all selectors, in query and headers."""

_STICKY = {_DEPLOYMENT, _VIRTUAL_ENVIRONMENT, SHARE}
# A client may not choose the event type: the selector is removed and never read.
_REMOVED_ONLY = {"kf-type"}
_HEADERS = {*_NAMES, *_REMOVED_ONLY, "cookie"}
_ONLY_SAMPLE = {_SAMPLE}
_NOT_FOUND = (None, None)
_has_coded_name = re.compile(r"(?:^|&)[^=&]*%").search
_FLAGS = {"true": True, "1": True, "false": False, "0": False}


class Source(Enum):
    """The place where a selector was found.

    The first three stand in the order of their precedence. The names of a share count before those
    of cookies.
    """

    QUERY = "query"
    HEADER = "header"
    COOKIE = "cookie"
    SHARE = "share"


class Selectors(msgspec.Struct):
    """The deployment and virtual environment that a request selects.

    ``extract`` returns the same object for the same query, so that the memo is found again.

    Attributes:
        memo: The resolver's; see ``routing.memo``. JSON leaves it out while it is empty.
        deployment: Name of a deployment, or None.
        virtual_environment: Name of a virtual environment, or None.
        sample: Whether the client wants this request traced.
        deployment_source: Where ``deployment`` was found.
        virtual_environment_source: Where ``virtual_environment`` was found.
        sample_source: Where ``sample`` was found.
        share: Token of a share, unchecked, or None.
        share_source: Where ``share`` was found.
        depends_on_headers: Whether headers or cookies have selectors: another request for the same
            URL may get another answer.
    """

    # Fields lie in memory in this order: those that every request reads come first.
    memo: Memo = UNSET
    deployment: str | None = None
    virtual_environment: str | None = None
    sample: bool = False
    deployment_source: Source | None = None
    virtual_environment_source: Source | None = None
    sample_source: Source | None = None
    share: str | None = None
    share_source: Source | None = None
    depends_on_headers: bool = False


NO_SELECTORS = Selectors()

MAX_CACHED_QUERY = 256

Found = dict[str, tuple[str, Source]]
"""Selectors with their values and the places where they were found."""

# Visitors of one version send the same query again and again: a hit takes 0.1 µs instead of 1 µs.
# Longer queries are not cached, because a client that sends many of them would fill the memory.
_cache: BoundedCache[str, tuple[Selectors, str]] = BoundedCache(2_048)


def extract(query: str, headers: Headers) -> tuple[Selectors, str, Headers]:
    """Return the selectors, and query and headers without them.

    Args:
        query: Raw query string; the remaining part keeps its order and encoding.
        headers: Names in lower case.

    Raises:
        InvalidSelector: One is empty, unreadable, or present twice with different values.
        HeadersTooLarge: A selector stands among more than MAX_PAIRS parameters or cookies.
    """
    selectors, whole = NO_SELECTORS, query
    if "kf-" in query or "kubefox-" in query or ("%" in query and _has_coded_name(query)):
        selectors, query = _cache.get(query) or _from_query(query)
    # A plain loop: any() over a generator is a third of the cost of a request without selectors.
    for name, value in headers:
        if name in _HEADERS and (name != "cookie" or "kf-" in value):
            headers, in_headers = _split_headers(headers)
            found = in_headers | _split_query(whole)[1]
            # A header that only asks for a trace does not change the answer.
            depends_on_headers = bool(in_headers) and in_headers.keys() != _ONLY_SAMPLE
            return _selectors(found, depends_on_headers), query, headers
    return selectors, query, headers


def _from_query(whole: str) -> tuple[Selectors, str]:
    rest, found = _split_query(whole)
    selectors = _selectors(found)
    if len(whole) <= MAX_CACHED_QUERY:
        _cache.put(whole, (selectors, rest))
    return selectors, rest


def _split_query(whole: str) -> tuple[str, Found]:
    found: Found = {}
    kept = []
    check_count(whole, "&", MAX_PAIRS, "query parameters")
    for part in whole.split("&"):
        name, _, value = part.partition("=")
        name = decoded_plus(name) if "%" in name else name
        if name in _NAMES:
            value = decoded_plus(value)
            _add_found(found, name, value, Source.QUERY)
        elif name not in _REMOVED_ONLY:
            kept.append(part)
    return "&".join(kept), found


def _split_headers(headers: Headers) -> tuple[Headers, Found]:
    in_headers: Found = {}
    in_cookies: Found = {}
    kept = []
    cookies = ";".join([value for name, value in headers if name == "cookie"])
    check_count(cookies, ";", MAX_PAIRS, "cookies")
    for name, value in headers:
        if name in _NAMES:
            _add_found(in_headers, name, value.strip(), Source.HEADER)
        elif name == "cookie" and "kf-" in value:
            if rest := _split_cookie(value, in_cookies):
                kept.append((name, rest))
        elif name not in _REMOVED_ONLY:
            kept.append((name, value))
    return tuple(kept), in_cookies | in_headers


def _split_cookie(cookie: str, found: Found) -> str:
    kept = []
    for part in cookie.split(";"):
        name, _, value = part.strip().partition("=")
        value = value.strip('"')
        if name not in _STICKY:
            kept.append(part)
        elif value:
            # Browsers send the cookie with the most specific path first (RFC 6265, 5.4).
            found.setdefault(_NAMES[name], (value, Source.COOKIE))
    return ";".join(kept).strip()


def _add_found(found: Found, name: str, value: str, source: Source) -> None:
    if not value:
        raise InvalidSelector(f"selector {name} has no value")
    first, _ = found.setdefault(_NAMES[name], (value, source))
    if first != value:
        raise InvalidSelector(
            f"selector {name} is present twice with different values: {first!r} and {value!r}"
        )


def _selectors(found: Found, depends_on_headers: bool = False) -> Selectors:
    deployment, deployment_source = found.get(_DEPLOYMENT, _NOT_FOUND)
    virtual_environment, virtual_environment_source = found.get(_VIRTUAL_ENVIRONMENT, _NOT_FOUND)
    sample, sample_source = found.get(_SAMPLE, _NOT_FOUND)
    share, share_source = found.get(SHARE, _NOT_FOUND)
    # Positional arguments: keywords take twice as long.
    return Selectors(
        UNSET,
        deployment,
        virtual_environment,
        sample is not None and _flag(sample),
        deployment_source,
        virtual_environment_source,
        sample_source,
        share,
        share_source,
        depends_on_headers,
    )


def _flag(text: str) -> bool:
    try:
        return _FLAGS[text.lower()]
    except KeyError as error:
        raise InvalidSelector(
            f"selector kf-sample is {text!r}, expected true, 1, false or 0"
        ) from error

"""Selectors: how a request names a deployment and a virtual environment itself.

==========================  ====================  =================================
selector                    query and header      long query and header
==========================  ====================  =================================
deployment                  ``kf-dep``            ``kubefox-app-deployment``
virtual environment         ``kf-ve``             ``kubefox-virtual-environment``
trace this request          ``kf-sample``         ``kubefox-telemetry-sample``
==========================  ====================  =================================

The query is asked first, then the headers, then the sticky cookies ``kf-dep`` and ``kf-ve``, of
which one without a value says nothing. All of them are taken out of the request, whichever was
used, and everything else keeps its bytes.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import Any
from urllib.parse import unquote_plus

import msgspec
from msgspec import UNSET, UnsetType

from model.errors import InvalidSelector
from model.event import Headers
from routing.recent import Recent

_DEPLOYMENT = "kf-dep"
_VIRTUAL_ENVIRONMENT = "kf-ve"
_SAMPLE = "kf-sample"
_NAMES = {
    "kf-dep": _DEPLOYMENT,
    "kubefox-app-deployment": _DEPLOYMENT,
    "kf-ve": _VIRTUAL_ENVIRONMENT,
    "kubefox-virtual-environment": _VIRTUAL_ENVIRONMENT,
    "kf-sample": _SAMPLE,
    "kubefox-telemetry-sample": _SAMPLE,
}
SELECTOR_NAMES = frozenset(_NAMES)
"""Names of all selectors, in query and headers."""

_STICKY = {_DEPLOYMENT, _VIRTUAL_ENVIRONMENT}
# An outside client may not choose the event type, so it is removed and never read.
_REMOVED_ONLY = {"kf-type"}
_HEADERS = {*_NAMES, *_REMOVED_ONLY, "cookie"}
_NOWHERE = (None, None)
_has_coded_name = re.compile(r"(?:^|&)[^=&]*%").search
_FLAGS = {"true": True, "1": True, "false": False, "0": False}


class Source(Enum):
    """Where a selector was found, in the order of asking."""

    QUERY = "query"
    HEADER = "header"
    COOKIE = "cookie"


class Selectors(msgspec.Struct):
    """What the request itself asks for.

    Attributes:
        binding: What the latest decision by these selectors was read from, for the next one: they
            are the same object for the same query. For the resolver only.
        rest: The query without them, for who took them from there.
        deployment: Name of a deployment, or None.
        virtual_environment: Name of a virtual environment, or None.
        sample: Whether the client wants this request traced.
        deployment_source: Where ``deployment`` came from.
        virtual_environment_source: Where ``virtual_environment`` came from.
        sample_source: Where ``sample`` came from.
    """

    # In this order they lie in memory: what every request asks for comes first.
    binding: Any = UNSET
    rest: str | UnsetType = UNSET
    deployment: str | None = None
    virtual_environment: str | None = None
    sample: bool = False
    deployment_source: Source | None = None
    virtual_environment_source: Source | None = None
    sample_source: Source | None = None


NO_SELECTORS = Selectors()

MAX_KNOWN_QUERY = 256

Found = dict[str, tuple[str, Source]]
"""Selectors with their values and where they were found."""

# Whoever visits a version comes with the same query again and again: 0.1 µs instead of 1. Long
# ones are not remembered: whoever sends many of them would fill the memory.
_known: Recent[str, Selectors] = Recent(2_048)


def extract(query: str, headers: Headers) -> tuple[Selectors, str, Headers]:
    """Return the selectors, and query and headers without them.

    Args:
        query: Raw query string; what stays keeps its order and encoding.
        headers: Names in lower case.

    Raises:
        InvalidSelector: One is empty, unreadable, or there twice with different values.
    """
    selectors, whole = NO_SELECTORS, query
    if "kf-" in query or "kubefox-" in query or ("%" in query and _has_coded_name(query)):
        known = _known.get(query)
        selectors = _of_query(query) if known is None else known
        query = selectors.rest or ""
    # A plain loop: any() over a generator is a third of the cost of a request without selectors.
    for name, value in headers:
        if name in _HEADERS and (name != "cookie" or "kf-" in value):
            headers, in_headers = _take_from_headers(headers)
            return _chosen(in_headers | _take_from_query(whole)[1]), query, headers
    return selectors, query, headers


def _of_query(whole: str) -> Selectors:
    rest, found = _take_from_query(whole)
    selectors = _chosen(found, rest)
    if len(whole) <= MAX_KNOWN_QUERY:
        _known.put(whole, selectors)
    return selectors


def _take_from_query(whole: str) -> tuple[str, Found]:
    found: Found = {}
    kept = []
    for part in whole.split("&"):
        name, _, value = part.partition("=")
        name = unquote_plus(name) if "%" in name else name
        if name in _NAMES:
            value = unquote_plus(value) if "%" in value or "+" in value else value
            _note(found, name, value, Source.QUERY)
        elif name not in _REMOVED_ONLY:
            kept.append(part)
    return "&".join(kept), found


def _take_from_headers(headers: Headers) -> tuple[Headers, Found]:
    in_headers: Found = {}
    in_cookies: Found = {}
    kept = []
    for name, value in headers:
        if name in _NAMES:
            _note(in_headers, name, value.strip(), Source.HEADER)
        elif name == "cookie" and "kf-" in value:
            if rest := _take_from_cookie(value, in_cookies):
                kept.append((name, rest))
        elif name not in _REMOVED_ONLY:
            kept.append((name, value))
    return tuple(kept), in_cookies | in_headers


def _take_from_cookie(cookie: str, found: Found) -> str:
    kept = []
    for part in cookie.split(";"):
        name, _, value = part.strip().partition("=")
        value = value.strip('"')
        if name not in _STICKY:
            kept.append(part)
        elif value:
            _note(found, name, value, Source.COOKIE)
    return ";".join(kept).strip()


def _note(found: Found, name: str, value: str, source: Source) -> None:
    if not value:
        raise InvalidSelector(f"selector {name} has no value")
    first, _ = found.setdefault(_NAMES[name], (value, source))
    if first != value:
        raise InvalidSelector(
            f"selector {name} is there twice with different values: {first!r} and {value!r}"
        )


def _chosen(found: Found, rest: str | UnsetType = UNSET) -> Selectors:
    deployment, deployment_source = found.get(_DEPLOYMENT, _NOWHERE)
    virtual_environment, virtual_environment_source = found.get(_VIRTUAL_ENVIRONMENT, _NOWHERE)
    sample, sample_source = found.get(_SAMPLE, _NOWHERE)
    # By position: names would take twice as long.
    return Selectors(
        UNSET,
        rest,
        deployment,
        virtual_environment,
        sample is not None and _flag(sample),
        deployment_source,
        virtual_environment_source,
        sample_source,
    )


def _flag(text: str) -> bool:
    try:
        return _FLAGS[text.lower()]
    except KeyError as error:
        raise InvalidSelector(
            f"selector kf-sample is {text!r}, expected true, 1, false or 0"
        ) from error

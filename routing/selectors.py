"""Selectors: how a request names a deployment and a virtual environment itself.

==========================  ====================  =================================
selector                    query and header      long query and header
==========================  ====================  =================================
deployment                  ``kf-dep``            ``kubefox-app-deployment``
virtual environment         ``kf-ve``             ``kubefox-virtual-environment``
trace this request          ``kf-sample``         ``kubefox-telemetry-sample``
==========================  ====================  =================================

The query is asked first, then the headers, then the sticky cookies ``kf-dep`` and ``kf-ve``. All of
them are taken out of the request, whichever was used, and everything else keeps its bytes.
"""

from __future__ import annotations

from enum import Enum
from urllib.parse import unquote_plus

import msgspec

from model.errors import InvalidSelector
from model.event import Headers

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
_STICKY = {_DEPLOYMENT, _VIRTUAL_ENVIRONMENT}
# An outside client may not choose the event type, so it is removed and never read.
_REMOVED_ONLY = {"kf-type"}
_PREFIXES = ("kf-", "kubefox-")
_FLAGS = {"true": True, "1": True, "false": False, "0": False}


class Source(Enum):
    """Where a selector was found, in the order of asking."""

    QUERY = "query"
    HEADER = "header"
    COOKIE = "cookie"


class Selectors(msgspec.Struct, frozen=True, kw_only=True):
    """What the request itself asks for.

    Attributes:
        deployment: Name of a deployment, or None.
        virtual_environment: Name of a virtual environment, or None.
        sample: Whether the client wants this request traced.
        deployment_source: Where ``deployment`` came from.
        virtual_environment_source: Where ``virtual_environment`` came from.
        sample_source: Where ``sample`` came from.
    """

    deployment: str | None = None
    virtual_environment: str | None = None
    sample: bool = False
    deployment_source: Source | None = None
    virtual_environment_source: Source | None = None
    sample_source: Source | None = None


NO_SELECTORS = Selectors()


def extract(query: str, headers: Headers) -> tuple[Selectors, str, Headers]:
    """Return the selectors, and query and headers without them.

    Args:
        query: Raw query string; what stays keeps its order and encoding.
        headers: Names in lower case.

    Raises:
        InvalidSelector: One is empty, unreadable, or there twice with different values.
    """
    found: dict[Source, dict[str, str]] = {}
    if "kf-" in query or "kubefox-" in query:
        query, found[Source.QUERY] = _take_from_query(query)
    # A plain loop: any() over a generator is a third of the cost of a request without selectors.
    for name, value in headers:
        if name.startswith(_PREFIXES) or (name == "cookie" and "kf-" in value):
            headers = _take_from_headers(headers, found)
            break
    return _chosen(found) if found else NO_SELECTORS, query, headers


def _take_from_query(query: str) -> tuple[str, dict[str, str]]:
    found: dict[str, str] = {}
    kept = []
    for part in query.split("&"):
        name, _, value = part.partition("=")
        if name in _NAMES:
            _note(found, name, unquote_plus(value) if "%" in value or "+" in value else value)
        elif name not in _REMOVED_ONLY:
            kept.append(part)
    return "&".join(kept), found


def _take_from_headers(headers: Headers, found: dict[Source, dict[str, str]]) -> Headers:
    in_headers = found[Source.HEADER] = {}
    in_cookie = found[Source.COOKIE] = {}
    kept = []
    for name, value in headers:
        if name in _NAMES:
            _note(in_headers, name, value.strip())
        elif name == "cookie" and "kf-" in value:
            if rest := _take_from_cookie(value, in_cookie):
                kept.append((name, rest))
        elif name not in _REMOVED_ONLY:
            kept.append((name, value))
    return tuple(kept)


def _take_from_cookie(cookie: str, found: dict[str, str]) -> str:
    kept = []
    for part in cookie.split(";"):
        name, _, value = part.strip().partition("=")
        if name in _STICKY:
            _note(found, name, value.strip('"'))
        else:
            kept.append(part)
    return ";".join(kept).strip()


def _note(found: dict[str, str], name: str, value: str) -> None:
    if not value:
        raise InvalidSelector(f"selector {name} has no value")
    selector = _NAMES[name]
    if found.setdefault(selector, value) != value:
        raise InvalidSelector(
            f"selector {name} is there twice with different values: "
            f"{found[selector]!r} and {value!r}"
        )


def _chosen(found: dict[Source, dict[str, str]]) -> Selectors:
    deployment, deployment_source = _first(found, _DEPLOYMENT)
    virtual_environment, virtual_environment_source = _first(found, _VIRTUAL_ENVIRONMENT)
    sample, sample_source = _first(found, _SAMPLE)
    return Selectors(
        deployment=deployment,
        virtual_environment=virtual_environment,
        sample=_flag(sample),
        deployment_source=deployment_source,
        virtual_environment_source=virtual_environment_source,
        sample_source=sample_source,
    )


def _first(
    found: dict[Source, dict[str, str]], selector: str
) -> tuple[str, Source] | tuple[None, None]:
    # In the order in which they were looked at, which is the order of asking.
    for source, selectors in found.items():
        if selector in selectors:
            return selectors[selector], source
    return None, None


def _flag(text: str | None) -> bool:
    if text is None:
        return False
    try:
        return _FLAGS[text.lower()]
    except KeyError as error:
        raise InvalidSelector(
            f"selector kf-sample is {text!r}, expected true, 1, false or 0"
        ) from error

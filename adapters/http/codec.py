"""Between aiohttp's requests and responses and the platform's events; no I/O.

Names and values are taken from ``raw_headers``: pairs of bytes, duplicates and order kept.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from aiohttp import web
from multidict import CIMultiDict

from model.codec import Body
from model.errors import ComponentFailed, HeadersTooLarge, InvalidRequest
from model.event import EventType, Headers
from model.event import Response as ResponseHead
from model.http import FIRST_STATUS, LAST_STATUS, breaks_header, is_header_name
from routing.request import GenesisRequest
from routing.selectors import Selectors, extract

MAX_HEADERS_BYTES = 64 * 1024
EXPLAIN_HEADER = "kubefox-explain"

# https://www.w3.org/TR/trace-context/#traceparent-header: other versions may say more.
_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}.*")
_NOTED = frozenset({"host", "traceparent", EXPLAIN_HEADER})

# RFC 9110, 7.6.1: they speak of one connection only; ``expect`` is answered here. Length and
# framing are made anew.
_HOP_BY_HOP = frozenset(
    {
        "connection",
        "expect",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
_MADE_ANEW = _HOP_BY_HOP | {"content-length"}


class Arrival(NamedTuple):
    """A request as it came in.

    Attributes:
        selectors: What it asks for itself.
        genesis: The request without them.
        traceparent: Its W3C trace context, or empty.
        wants_explanation: Whether it asks why, and not to be served.
    """

    selectors: Selectors
    genesis: GenesisRequest
    traceparent: str
    wants_explanation: bool


def read_request(request: web.BaseRequest) -> Arrival:
    """Return what routing needs of a request.

    Raises:
        HeadersTooLarge: They are over 64 KiB.
        InvalidSelector: A selector cannot be read.
        InvalidRequest: It asks for a tunnel.
    """
    if request.method == "CONNECT":
        raise InvalidRequest("CONNECT is not served: this is no proxy")
    headers, noted = _headers(request.raw_headers)
    path, _, query = request.raw_path.partition("#")[0].partition("?")
    selectors, query, headers = extract(query, headers)
    authority, path = _origin_form(path)
    genesis = GenesisRequest(
        type=EventType.HTTP,
        host=authority or noted.get("host", ""),
        method=request.method,
        path=path,
        query=query,
        headers=headers,
    )
    return Arrival(selectors, genesis, _traceparent(noted), noted.get(EXPLAIN_HEADER) == "1")


def to_response(head: ResponseHead, body: Body, known: dict[str, str]) -> web.Response:
    """Return the HTTP response for a component's answer.

    Args:
        head: Status and headers of the component.
        body: Its body.
        known: The ``kubefox-…`` headers; they win over the component's.

    Raises:
        ComponentFailed: HTTP cannot say what the component answered.
    """
    if not FIRST_STATUS <= head.status <= LAST_STATUS:
        raise ComponentFailed(f"{head.source} answered with status {head.status}", hop=head.source)
    for name, value in head.headers:
        if not is_header_name(name) or breaks_header(value):
            raise ComponentFailed(f"{head.source} answered with header {name!r}", hop=head.source)
    kept = [pair for pair in head.headers if pair[0] not in _MADE_ANEW and pair[0] not in known]
    headers = CIMultiDict([*kept, *known.items()])
    # A memoryview would take aiohttp's way through its payload registry: 2 µs more.
    return web.Response(body=bytes(body), status=head.status, headers=headers)


def _headers(raw: Sequence[tuple[bytes, bytes]]) -> tuple[Headers, dict[str, str]]:
    """Return all headers that travel on, and those of them that the adapter itself reads."""
    size = 0
    noted = {}
    headers = []
    nominated: frozenset[str] = frozenset()
    for raw_name, raw_value in raw:
        size += len(raw_name) + len(raw_value)
        name = _known_name(raw_name) if len(raw_name) <= _MAX_KNOWN_NAME else _lower(raw_name)
        if name in _HOP_BY_HOP:
            if name == "connection":
                nominated |= _nominated(raw_value)
            continue
        value = _text(raw_value)
        if name in _NOTED:
            noted[name] = value
        headers.append((name, value))
    if size > MAX_HEADERS_BYTES:
        raise HeadersTooLarge(f"headers have {size} bytes, at most {MAX_HEADERS_BYTES} are taken")
    if nominated:
        headers = [pair for pair in headers if pair[0] not in nominated]
    return tuple(headers), noted


@lru_cache(maxsize=64)
def _nominated(raw_value: bytes) -> frozenset[str]:
    """Return the headers that a Connection header says are of this connection only."""
    names = (each.strip() for each in raw_value.decode("latin-1").lower().split(","))
    return frozenset(names) - _HOP_BY_HOP - {"close"}


def _text(raw_value: bytes) -> str:
    try:
        return raw_value.decode()
    except UnicodeDecodeError:
        # RFC 9110, 5.5: other bytes are opaque; so each of them stays one character.
        return raw_value.decode("latin-1")


def _lower(raw_name: bytes) -> str:
    return raw_name.decode("latin-1").lower()


# Clients spell a handful of names, over and over: 0.1 µs instead of 0.3. Long ones are nobody's.
_MAX_KNOWN_NAME = 64
_known_name = lru_cache(maxsize=1024)(_lower)


def _traceparent(noted: dict[str, str]) -> str:
    value = noted.get("traceparent", "")
    return value if _TRACEPARENT.fullmatch(value) else ""


def _origin_form(target: str) -> tuple[str, str]:
    """Return host and path of a request target; the host is empty unless the target names one.

    A proxy's client sends ``http://host/path``, and its host wins over the header: RFC 9112, 3.2.2.
    """
    if target.startswith("/"):
        return "", target
    _, separator, rest = target.partition("://")
    if not separator:
        return "", "/"
    authority, slash, tail = rest.partition("/")
    return authority.rpartition("@")[2], slash + tail or "/"

"""Between HTTP's requests and answers and the platform's events; no I/O.

Names and values are taken from ``raw_headers``: pairs of bytes, duplicates and order kept.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from aiohttp.http import RawRequestMessage

from adapters.http.answer import Answer
from adapters.http.request import MAX_HEADERS_BYTES
from model.codec import Body
from model.errors import ComponentFailed, HeadersTooLarge, InvalidRequest
from model.event import EventType, Headers
from model.event import Response as ResponseHead
from model.http import FIRST_STATUS, LAST_STATUS, breaks_header, is_header_name
from routing.request import GenesisRequest
from routing.selectors import SELECTOR_NAMES, Selectors, extract

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
_KNOWN = {
    "kubefox-event-id",
    "kubefox-trace-id",
    "kubefox-app-deployment",
    "kubefox-virtual-environment",
    "kubefox-release",
}
_MADE_ANEW = _HOP_BY_HOP | _KNOWN | {"content-length", "date"}
_BINARY = "content-type: application/octet-stream\r\n"


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


def read_request(message: RawRequestMessage) -> Arrival:
    """Return what routing needs of a request.

    Raises:
        HeadersTooLarge: They are over 64 KiB.
        InvalidSelector: A selector cannot be read.
        InvalidRequest: It asks for a tunnel.
    """
    if message.method == "CONNECT":
        raise InvalidRequest("CONNECT is not served: this is no proxy")
    headers, noted = _headers(message.raw_headers)
    path, _, query = message.path.partition("#")[0].partition("?")
    selectors, query, headers = extract(query, headers)
    authority, path = ("", path) if path.startswith("/") else _absolute(path)
    genesis = GenesisRequest(
        type=EventType.HTTP,
        host=authority or noted.get("host", ""),
        method=message.method,
        path=path,
        query=query,
        headers=headers,
    )
    traceparent = _checked(noted["traceparent"]) if "traceparent" in noted else ""
    return Arrival(selectors, genesis, traceparent, noted.get(EXPLAIN_HEADER) == "1")


def to_answer(head: ResponseHead, body: Body, known: str) -> Answer:
    """Return the answer that a component's is to the client.

    Args:
        head: Status and headers of the component.
        body: Its body.
        known: Lines of the ``kubefox-…`` headers; the component's own are left out.

    Raises:
        ComponentFailed: HTTP cannot say what the component answered.
    """
    if not FIRST_STATUS <= head.status <= LAST_STATUS:
        raise ComponentFailed(f"{head.source} answered with status {head.status}", hop=head.source)
    lines, has_type = known, not body
    for name, value in head.headers:
        is_short = len(name) + len(value) <= _MAX_KNOWN
        line = _known_line(name, value) if is_short else _line(name, value)
        if line is None:
            raise ComponentFailed(f"{head.source} answered with header {name!r}", hop=head.source)
        lines += line
        has_type = has_type or name == "content-type"
    if len(lines) > MAX_HEADERS_BYTES:
        raise ComponentFailed(f"{head.source} answered with {len(lines)} bytes of headers")
    return Answer(head.status, lines if has_type else lines + _BINARY, body)


def length_of(head: ResponseHead) -> int | None:
    """Return how long a component says that its answer is, or None.

    Raises:
        ComponentFailed: It is no length.
    """
    found = [value for name, value in head.headers if name == "content-length"]
    if not found:
        return None
    if not (found[0].isascii() and found[0].isdecimal()) or len(set(found)) > 1:
        raise ComponentFailed(f"{head.source} answered with a wrong length", hop=head.source)
    return int(found[0])


def _line(name: str, value: str) -> str | None:
    """Return a header's line, nothing for one that is made anew, None for what is no header."""
    if not is_header_name(name) or breaks_header(value):
        return None
    return "" if name in _MADE_ANEW else f"{name}: {value}\r\n"


# Components answer with the same few lines: 0.1 µs instead of 0.7. Long ones are nobody's.
_MAX_KNOWN = 128
_known_line = lru_cache(maxsize=1024)(_line)


def _headers(raw: Sequence[tuple[bytes, bytes]]) -> tuple[Headers, dict[str, str]]:
    """Return all headers that travel on, and those of them that the adapter itself reads."""
    size = 0
    noted = {}
    headers = []
    nominated: frozenset[str] = frozenset()
    for raw_name, raw_value in raw:
        size += len(raw_name) + len(raw_value)
        name = _known_name(raw_name) if len(raw_name) <= _MAX_KNOWN else _lower(raw_name)
        if name in _HOP_BY_HOP:
            if name == "connection":
                is_short = len(raw_value) <= _MAX_KNOWN
                nominated |= _known_nominated(raw_value) if is_short else _nominated(raw_value)
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


def _nominated(raw_value: bytes) -> frozenset[str]:
    """Return the headers that a Connection header says are of this connection only.

    Selectors are read here, and never travel on. Left out, they would lead to the release instead.
    """
    names = (each.strip() for each in raw_value.decode("latin-1").lower().split(","))
    return frozenset(names) - _HOP_BY_HOP - SELECTOR_NAMES - {"close"}


_known_nominated = lru_cache(maxsize=64)(_nominated)


def _text(raw_value: bytes) -> str:
    try:
        return raw_value.decode()
    except UnicodeDecodeError:
        # RFC 9110, 5.5: other bytes are opaque; so each of them stays one character.
        return raw_value.decode("latin-1")


def _lower(raw_name: bytes) -> str:
    return raw_name.decode("latin-1").lower()


# Clients spell a handful of names, over and over: 0.1 µs instead of 0.3.
_known_name = lru_cache(maxsize=1024)(_lower)


def _checked(traceparent: str) -> str:
    return traceparent if _TRACEPARENT.fullmatch(traceparent) else ""


def _absolute(target: str) -> tuple[str, str]:
    """Return host and path of a request target that does not begin with its path.

    A proxy's client sends ``http://host/path``, and its host wins over the header: RFC 9112, 3.2.2.
    """
    _, separator, rest = target.partition("://")
    if not separator:
        return "", "/"
    authority, slash, tail = rest.partition("/")
    return authority.rpartition("@")[2], slash + tail or "/"

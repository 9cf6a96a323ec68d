"""Conversion between HTTP requests and responses and the platform's events; no I/O.

Names and values of headers are read from ``raw_headers``: pairs of bytes, in order, with
duplicates.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache

import msgspec

from adapters.http.aiohttp_internals import RawRequestMessage
from adapters.http.limits import HttpLimits
from adapters.http.private_headers import private_headers
from adapters.http.response import HttpResponse
from kubefox.codec import Body
from kubefox.errors import ComponentFailed, HeadersTooLarge, InvalidRequest
from kubefox.event import EventType, Headers, ResponseHead
from kubefox.http import FIRST_STATUS, LAST_STATUS, breaks_header, is_header_name
from routing.request import GenesisRequest
from routing.selectors import SELECTOR_NAMES, Selectors, extract

EXPLAIN_HEADER = "kubefox-explain"

# https://www.w3.org/TR/trace-context/#traceparent-header: later versions may append fields.
_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}.*")
PROXY_HEADERS = frozenset(
    {
        "cf-connecting-ip",
        "client-ip",
        "fastly-client-ip",
        "forwarded",
        "forwarded-for",
        "true-client-ip",
        "via",
        "x-client-ip",
        "x-cluster-client-ip",
        "x-envoy-external-address",
        "x-forwarded",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-port",
        "x-forwarded-proto",
        "x-forwarded-scheme",
        "x-forwarded-server",
        "x-original-forwarded-for",
        "x-original-host",
        "x-real-ip",
    }
)
"""Headers that a proxy adds, and a direct client does not."""

_ADAPTER_HEADERS = PROXY_HEADERS | {"host", "origin", "accept", "traceparent", EXPLAIN_HEADER}

# RFC 9110, 7.6.1: they are about one connection only. ``expect`` is answered by the adapter.
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
_KUBEFOX_HEADERS = {
    "kubefox-event-id",
    "kubefox-trace-id",
    "kubefox-app-deployment",
    "kubefox-virtual-environment",
    "kubefox-release",
}
# Response headers that the adapter makes itself.
_GENERATED_HEADERS = _HOP_BY_HOP | _KUBEFOX_HEADERS | {"content-length", "date"}
_BINARY = "content-type: application/octet-stream\r\n"

# Longer names and values are rarely repeated, and would fill the caches' memory.
_MAX_CACHED_BYTES = 128


class ParsedRequest(msgspec.Struct, frozen=True, gc=False):
    """A request as routing needs it.

    Attributes:
        selectors: Deployment and virtual environment that the client selects.
        genesis: The request without the selectors.
        traceparent: Its W3C trace context; empty for none.
        wants_explanation: Whether the client asks how the request would be routed.
        adapter_headers: Headers that the adapter itself reads; of several, the last one.
    """

    selectors: Selectors
    genesis: GenesisRequest
    traceparent: str
    wants_explanation: bool
    adapter_headers: Mapping[str, str]


def read_request(message: RawRequestMessage, limits: HttpLimits) -> ParsedRequest:
    """Return what routing needs of a request.

    Raises:
        HeadersTooLarge: The headers are over the limit.
        InvalidSelector: A selector cannot be read.
        InvalidRequest: The method is CONNECT.
    """
    if message.method == "CONNECT":
        raise InvalidRequest("CONNECT is not supported: this server is not a proxy")
    headers, adapter_headers = _headers(message.raw_headers, limits.max_headers_bytes)
    path, _, query = message.path.partition("#")[0].partition("?")
    selectors, query, headers = extract(query, headers)
    authority, path = ("", path) if path.startswith("/") else _absolute(path)
    genesis = GenesisRequest(
        type=EventType.HTTP,
        host=authority or adapter_headers.get("host", ""),
        method=message.method,
        path=path,
        query=query,
        headers=headers,
    )
    traceparent = adapter_headers.get("traceparent", "")
    if traceparent and not _TRACEPARENT.fullmatch(traceparent):
        traceparent = ""
    wants_explanation = adapter_headers.get(EXPLAIN_HEADER) == "1"
    return ParsedRequest(selectors, genesis, traceparent, wants_explanation, adapter_headers)


def to_response(
    head: ResponseHead,
    body: Body,
    kubefox_lines: str,
    limits: HttpLimits,
    private_lines: str = "",
) -> HttpResponse:
    """Return the HTTP response for the response of a component.

    Args:
        head: Status and headers of the component.
        body: Its body.
        kubefox_lines: Lines of the ``kubefox-…`` headers; the component's own are removed.
        limits: Of the adapter.
        private_lines: Further lines of a response that no cache may give to others.

    Raises:
        ComponentFailed: The component's response cannot be sent over HTTP.
    """
    if not FIRST_STATUS <= head.status <= LAST_STATUS:
        raise ComponentFailed(f"{head.source} responded with status {head.status}", hop=head.source)
    lines, has_type, headers = kubefox_lines, not body, head.headers
    if private_lines:
        lines += private_lines
        headers = private_headers(headers)
    for name, value in headers:
        is_short = len(name) + len(value) <= _MAX_CACHED_BYTES
        line = _cached_header_line(name, value) if is_short else _header_line(name, value)
        if line is None:
            raise ComponentFailed(
                f"{head.source} responded with the invalid header {name!r}", hop=head.source
            )
        lines += line
        has_type = has_type or name == "content-type"
    if len(lines) > limits.max_headers_bytes:
        raise ComponentFailed(f"{head.source} responded with {len(lines)} bytes of headers")
    return HttpResponse(head.status, lines if has_type else lines + _BINARY, body)


def length_of(head: ResponseHead) -> int | None:
    """Return the Content-Length of a component's response, or None.

    Raises:
        ComponentFailed: It is not a length.
    """
    found = [value for name, value in head.headers if name == "content-length"]
    if not found:
        return None
    if not (found[0].isascii() and found[0].isdecimal()) or len(set(found)) > 1:
        raise ComponentFailed(
            f"{head.source} responded with an invalid Content-Length", hop=head.source
        )
    return int(found[0])


def _header_line(name: str, value: str) -> str | None:
    """Return a header's line; empty for a generated header, None for an invalid one."""
    if not is_header_name(name) or breaks_header(value):
        return None
    return "" if name in _GENERATED_HEADERS else f"{name}: {value}\r\n"


# Components respond with the same few lines: 0.1 µs instead of 0.7.
_cached_header_line = lru_cache(maxsize=1024)(_header_line)


def _headers(raw: Sequence[tuple[bytes, bytes]], max_bytes: int) -> tuple[Headers, dict[str, str]]:
    """Return the headers for the event, and those of them that the adapter itself reads."""
    size = 0
    adapter_headers = {}
    headers = []
    connection_options: frozenset[str] = frozenset()
    for raw_name, raw_value in raw:
        size += len(raw_name) + len(raw_value)
        is_short = len(raw_name) <= _MAX_CACHED_BYTES
        name = _cached_header_name(raw_name) if is_short else _header_name(raw_name)
        if name in _HOP_BY_HOP:
            if name == "connection":
                is_short = len(raw_value) <= _MAX_CACHED_BYTES
                read = _cached_connection_options if is_short else _connection_options
                connection_options |= read(raw_value)
            continue
        value = _text(raw_value)
        if name in _ADAPTER_HEADERS:
            adapter_headers[name] = value
        headers.append((name, value))
    if size > max_bytes:
        raise HeadersTooLarge(f"the request headers have {size} bytes; the limit is {max_bytes}")
    if connection_options:
        headers = [header for header in headers if header[0] not in connection_options]
    return tuple(headers), adapter_headers


def _connection_options(raw_value: bytes) -> frozenset[str]:
    """Return the names of the headers that a Connection header declares as hop-by-hop.

    Selectors are left out of it: they are read by this adapter. Without them, the request would go
    to the release instead.
    """
    names = (name.strip() for name in raw_value.decode("latin-1").lower().split(","))
    return frozenset(names) - _HOP_BY_HOP - SELECTOR_NAMES - {"close"}


_cached_connection_options = lru_cache(maxsize=64)(_connection_options)


def _text(raw_value: bytes) -> str:
    try:
        return raw_value.decode()
    except UnicodeDecodeError:
        # RFC 9110, 5.5: other bytes are opaque, so each one becomes one character.
        return raw_value.decode("latin-1")


def _header_name(raw_name: bytes) -> str:
    return raw_name.decode("latin-1").lower()


# Clients repeat the spelling of a few names: 0.1 µs instead of 0.3.
_cached_header_name = lru_cache(maxsize=1024)(_header_name)


def _absolute(target: str) -> tuple[str, str]:
    """Return host and path of a request target that does not begin with its path.

    A client of a proxy sends ``http://host/path``, and that host has priority over the Host
    header: RFC 9112, 3.2.2.
    """
    _, separator, rest = target.partition("://")
    if not separator:
        return "", "/"
    authority, slash, tail = rest.partition("/")
    return authority.rpartition("@")[2], slash + tail or "/"

"""HTTP responses, and their HTTP/1.1 form: head and body in one piece."""

from __future__ import annotations

import time
from collections.abc import Iterable
from email.utils import formatdate
from http import HTTPStatus

import msgspec

from kubefox.codec import Body

# Before Python 3.12, reading a member of an enumeration from its class takes 0.35 µs.
_NO_CONTENT = (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED)
_RESET_CONTENT = HTTPStatus.RESET_CONTENT
REQUEST_TIMEOUT = HTTPStatus.REQUEST_TIMEOUT
_STATUS_LINES = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n" for status in HTTPStatus
}


class HttpResponse(msgspec.Struct, frozen=True, gc=False):
    """A response that is complete, or the head of one whose body is streamed.

    Attributes:
        status: HTTP status, 200 to 599.
        header_lines: Header lines with their line ends. Those of framing, Date and Connection are
            added when the response is rendered.
        body: Sent unless the method or the status excludes a body.
    """

    status: int
    header_lines: str = ""
    body: Body = b""


class WrittenResponse(msgspec.Struct, frozen=True, gc=False):
    """The result of a response that has been written to the client in parts.

    Attributes:
        status: Status for telemetry: that of the response, or of the failure that cut it.
        keeps_connection: Whether the connection can serve another request.
    """

    status: int
    keeps_connection: bool


def render_header_lines(headers: Iterable[tuple[str, str]]) -> str:
    """Return header lines of names and values that are known to be valid."""
    return "".join(f"{name}: {value}\r\n" for name, value in headers)


def render(response: HttpResponse, connection: str, *, is_head: bool) -> bytes:
    """Return the bytes of a complete response.

    Args:
        response: Without header lines for framing.
        connection: Value of the Connection header; empty for none.
        is_head: Whether the request's method is HEAD: its response has the headers of GET and no
            body.
    """
    status, lines, body = response.status, response.header_lines, response.body
    first = _STATUS_LINES.get(status) or f"HTTP/1.1 {status} \r\n"
    if connection:
        lines = f"connection: {connection}\r\n{lines}"
    if status in _NO_CONTENT:
        return f"{first}{_date.line()}{lines}\r\n".encode()
    if status == _RESET_CONTENT:
        body = b""
    # A component that answers HEAD without a body does not say how long that of GET would be.
    length = "" if is_head and not body else f"content-length: {len(body)}\r\n"
    head = f"{first}{length}{_date.line()}{lines}\r\n".encode()
    return head if is_head else b"".join((head, body))


def has_body(response: HttpResponse, *, is_head: bool) -> bool:
    """Return whether a response has a body, by its status and the request's method."""
    return not is_head and response.status not in (*_NO_CONTENT, _RESET_CONTENT)


def render_head(response: HttpResponse, connection: str, framing: str) -> bytes:
    """Return the head of a response whose body is written in parts.

    Args:
        response: Without header lines for framing.
        connection: Value of the Connection header; empty for none.
        framing: Header line that says where the body ends; empty for none.
    """
    first = _STATUS_LINES.get(response.status) or f"HTTP/1.1 {response.status} \r\n"
    line = f"connection: {connection}\r\n" if connection else ""
    return f"{first}{framing}{_date.line()}{line}{response.header_lines}\r\n".encode()


class _Date:
    """The Date header, made once a second: making it takes longer than the rest of the head."""

    def __init__(self) -> None:
        self._second = 0
        self._line = ""

    def line(self) -> str:
        now = int(time.time())
        if now != self._second:
            self._second, self._line = now, f"date: {formatdate(now, usegmt=True)}\r\n"
        return self._line


_date = _Date()

"""Answers, and the bytes that HTTP/1.1 makes of them: head and body in one piece."""

from __future__ import annotations

import time
from collections.abc import Iterable
from email.utils import formatdate
from http import HTTPStatus
from typing import NamedTuple

from model.codec import Body

_NO_CONTENT = (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED)
_STATUS_LINES = {each.value: f"HTTP/1.1 {each.value} {each.phrase}\r\n" for each in HTTPStatus}


class Answer(NamedTuple):
    """What a request is answered with.

    Attributes:
        status: HTTP status that ends a request.
        lines: Header lines with their line ends; not those of framing, which are made here.
        body: Sent unless the method or the status rules it out.
    """

    status: int
    lines: str = ""
    body: Body = b""


def lines_of(headers: Iterable[tuple[str, str]]) -> str:
    """Return header lines of names and values that are known to be ones."""
    return "".join(f"{name}: {value}\r\n" for name, value in headers)


def render(answer: Answer, connection: str, *, is_head: bool) -> bytes:
    """Return an answer as it is sent.

    Args:
        answer: With lines that say nothing of framing.
        connection: Value of the Connection header, or empty for none.
        is_head: Whether the method was HEAD: its answer has the headers of GET and no body.
    """
    status, lines, body = answer
    first = _STATUS_LINES.get(status) or f"HTTP/1.1 {status} \r\n"
    if connection:
        lines = f"connection: {connection}\r\n{lines}"
    if status in _NO_CONTENT:
        return f"{first}{_date.line()}{lines}\r\n".encode()
    if status == HTTPStatus.RESET_CONTENT:
        body = b""
    # Of an empty answer to HEAD nobody knows how long that to GET would be.
    length = "" if is_head and not body else f"content-length: {len(body)}\r\n"
    head = f"{first}{length}{_date.line()}{lines}\r\n".encode()
    return head if is_head else b"".join((head, body))


def has_body(answer: Answer, *, is_head: bool) -> bool:
    """Return whether an answer has a body, by its status and the method that it answers."""
    return not is_head and answer.status not in (*_NO_CONTENT, HTTPStatus.RESET_CONTENT)


def render_head(answer: Answer, connection: str, framing: str) -> bytes:
    """Return the head of an answer whose body is written as it comes.

    Args:
        answer: With lines that say nothing of framing.
        connection: As in ``render``.
        framing: The line that tells where the body ends, or empty.
    """
    first = _STATUS_LINES.get(answer.status) or f"HTTP/1.1 {answer.status} \r\n"
    line = f"connection: {connection}\r\n" if connection else ""
    return f"{first}{framing}{_date.line()}{line}{answer.lines}\r\n".encode()


class _Date:
    """The Date header, made once a second: it takes longer than the rest of the head."""

    def __init__(self) -> None:
        self._second = 0
        self._line = ""

    def line(self) -> str:
        now = int(time.time())
        if now != self._second:
            self._second, self._line = now, f"date: {formatdate(now, usegmt=True)}\r\n"
        return self._line


_date = _Date()

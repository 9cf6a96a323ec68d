"""What a handler gives back, and what a call to another component returns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from multidict import CIMultiDict, CIMultiDictProxy

from broker.receiver import Reply
from model.codec import Body
from model.event import Headers
from model.event import Response as ResponseHead
from model.http import FIRST_STATUS, LAST_STATUS, breaks_header, is_header_name

TEXT = "text/plain; charset=utf-8"
HTML = "text/html; charset=utf-8"
JSON = "application/json"
BINARY = "application/octet-stream"

Content = str | bytes | Mapping[str, Any] | list[Any] | None
"""Text, bytes, something JSON can say, or nothing."""


class Response:
    """Status, headers and body.

    Attributes:
        status: HTTP status.
        body: The bytes as they travel.
        source: Who answered, as ``<component>@<hash>``; empty on a response not sent yet.
    """

    __slots__ = ("_pairs", "body", "source", "status")

    def __init__(
        self,
        content: Content = None,
        *,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
        content_type: str | None = None,
    ) -> None:
        """Make a response; the content's kind decides the content type unless it is given.

        Args:
            content: str is plain text, bytes are binary, a dict or list is JSON.
            status: HTTP status.
            headers: Further headers, in order.
            content_type: Media type, with charset for text.

        Raises:
            ValueError: No HTTP response can have this status or header.
        """
        self.body, default_type = _encode(content)
        self.status = _check_status(status)
        self.source = ""
        pairs = [(name.lower(), value) for name, value in (headers or {}).items()]
        media = content_type or default_type
        if media and not any(name == "content-type" for name, _ in pairs):
            pairs.append(("content-type", media))
        for name, value in pairs:
            _check_header(name, value)
        self._pairs: Headers = tuple(pairs)

    @classmethod
    def html(cls, text: str, *, status: int = 200) -> Response:
        """Return a page."""
        return cls(text, status=status, content_type=HTML)

    @classmethod
    def redirect(cls, location: str, *, status: int = 303) -> Response:
        """Return a redirect; 303 makes a browser GET the location after a form's POST."""
        return cls(status=status, headers={"location": location})

    @classmethod
    def from_wire(cls, head: ResponseHead, body: Body) -> Response:
        """Return a response that another component sent."""
        response = cls.__new__(cls)
        response.status = head.status
        response.source = head.source
        response.body = bytes(body)
        response._pairs = head.headers  # noqa: SLF001 - of the class itself
        return response

    @property
    def headers(self) -> CIMultiDictProxy[str]:
        """The headers; names in any case."""
        return CIMultiDictProxy(CIMultiDict(self._pairs))

    @property
    def is_ok(self) -> bool:
        """Whether the status is below 400."""
        return self.status < 400

    @property
    def text(self) -> str:
        """The body as UTF-8 text."""
        return self.body.decode()

    def json(self, kind: Any = Any) -> Any:
        """Return the body read as JSON.

        Args:
            kind: Type to check it against, such as a msgspec Struct.

        Raises:
            msgspec.DecodeError: It is not JSON, or not of that type.
        """
        return msgspec.json.decode(self.body, type=kind)

    def to_reply(self) -> Reply:
        """Return the form that the receiver sends."""
        return Reply(self.status, self._pairs, self.body)


def to_reply(result: Response | Content) -> Reply:
    """Return what a handler gave back in the form that the receiver sends; None is 204."""
    if isinstance(result, Response):
        return result.to_reply()
    if result is None:
        return Reply(204)
    body, media = _encode(result)
    return Reply(200, (("content-type", media),), body)


def _encode(content: Content) -> tuple[bytes, str]:
    match content:
        case None:
            return b"", ""
        case str():
            return content.encode(), TEXT
        case bytes():
            return content, BINARY
        case _:
            return _encode_json(content), JSON


def _check_status(status: int) -> int:
    if not isinstance(status, int) or not FIRST_STATUS <= status <= LAST_STATUS:
        raise ValueError(
            f"status {status!r} ends no request: expected {FIRST_STATUS} to {LAST_STATUS}"
        )
    return status


def _check_header(name: str, value: str) -> None:
    if not is_header_name(name):
        raise ValueError(f"{name!r} is no name of a header")
    if not isinstance(value, str) or breaks_header(value):
        raise ValueError(f"header {name} must be one line of text, not {value!r}")


def _plain(value: object) -> str:
    # The names of ``ctx.headers`` are a kind of str that msgspec does not know.
    if isinstance(value, str):
        return str(value)
    raise TypeError(f"{type(value).__name__} cannot be sent as JSON")


_encode_json = msgspec.json.Encoder(enc_hook=_plain).encode

"""What a handler gives back, and what a call to another component returns."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

import msgspec
from multidict import CIMultiDict, CIMultiDictProxy

from broker.pour import Chunks, Streamed
from broker.receiver import Reply
from broker.stream import Incoming
from fox.kit import events as sse
from model.codec import Body
from model.event import Headers
from model.event import Response as ResponseHead
from model.http import FIRST_STATUS, LAST_STATUS, breaks_header, is_header_name

TEXT = "text/plain; charset=utf-8"
HTML = "text/html; charset=utf-8"
JSON = "application/json"
BINARY = "application/octet-stream"

Content = str | bytes | bytearray | memoryview | Mapping[str, Any] | list[Any] | None
"""Text, bytes, something JSON can say, or nothing."""


class Response:
    """Status, headers and body.

    Attributes:
        status: HTTP status.
        body: The bytes as they travel; empty when they are made while they are sent.
        source: Who answered, as ``<component>@<hash>``; empty on a response not sent yet.
    """

    __slots__ = ("_pairs", "_streamed", "body", "source", "status")

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
        self._streamed: Streamed | None = None
        pairs = [(name.lower(), value) for name, value in (headers or {}).items()]
        media = content_type or default_type
        if media and not any(name == "content-type" for name, _ in pairs):
            pairs.append(("content-type", media))
        for name, value in pairs:
            check_header(name, value)
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
    def stream(
        cls,
        chunks: Chunks,
        *,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
        content_type: str = BINARY,
    ) -> Response:
        """Return a response whose body is made while it is sent, however long that takes.

        No more is made than the client takes. When it leaves, ``chunks`` are cancelled where they
        wait, and closed: an async generator's ``finally`` runs.

        Args:
            chunks: Such as an async generator; bytes, or text that goes as UTF-8. Without one for a
                minute (``FOX_STREAM_IDLE_S``) the stream ends; an empty one is a sign of life.
            status: HTTP status.
            headers: Further headers; a ``content-length`` is kept to.
            content_type: Media type, with charset for text.
        """
        response = cls(status=status, headers=headers, content_type=content_type)
        response._streamed = Streamed(chunks)
        return response

    @classmethod
    def events(
        cls, events: sse.Events, *, status: int = 200, headers: Mapping[str, str] | None = None
    ) -> Response:
        """Return a response of server-sent events, each sent at once.

        While there are none, a comment every 15 s keeps the connection alive.

        Args:
            events: ServerSentEvent; text, a dict or a list is the data of one.
            status: HTTP status.
            headers: Further headers.
        """
        headers = {**sse.HEADERS, **(headers or {})}
        response = cls(status=status, headers=headers, content_type=sse.MEDIA)
        response._streamed = Streamed(sse.encoded(events), sse.KEEP_ALIVE)
        return response

    @classmethod
    def from_wire(cls, head: ResponseHead, body: Body) -> Response:
        """Return a response that another component sent."""
        response = cls.__new__(cls)
        response.status = head.status
        response.source = head.source
        response.body = bytes(body)
        response._streamed = None  # noqa: SLF001 - of the class itself
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
        return Reply(self.status, self._pairs, self.body, self._streamed)


class StreamedResponse(Response):
    """A response that is read while it comes: ``async for chunk in response``.

    Status and headers are there already; the body is not.
    """

    __slots__ = ("_content",)

    _content: Body | Incoming

    @classmethod
    def of(cls, head: ResponseHead, content: Body | Incoming) -> StreamedResponse:
        """Return a response that another component sends."""
        response = cls.__new__(cls)
        response._begin(head, content)  # noqa: SLF001 - of the class itself
        return response

    def _begin(self, head: ResponseHead, content: Body | Incoming) -> None:
        self.status, self.source, self.body = head.status, head.source, b""
        self._pairs, self._streamed, self._content = head.headers, None, content

    def whole(self, body: bytes) -> Response:
        """Return it with its whole body, once that is there."""
        head = ResponseHead(status=self.status, headers=self._pairs, source=self.source)
        return Response.from_wire(head, body)

    def to_reply(self) -> Reply:
        """Refuse to be what a handler gives back: its body ends with the call.

        Raises:
            TypeError: Always.
        """
        raise TypeError("the answer of a call is read within it, and passed on by Response.stream")

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield the body's chunks as they come.

        Raises:
            FoxError: The rest will never come.
        """
        return chunks_of(self._content)


async def chunks_of(content: Body | Incoming) -> AsyncIterator[bytes]:
    """Yield the chunks of a body, whether it is here or comes as a stream."""
    if not isinstance(content, Incoming):
        if content:
            yield bytes(content)
        return
    async for chunk in content:
        if chunk:
            yield bytes(chunk)


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
        case bytes() | bytearray() | memoryview():
            return bytes(content), BINARY
        case _:
            return _encode_json(content), JSON


def _check_status(status: int) -> int:
    if not isinstance(status, int) or not FIRST_STATUS <= status <= LAST_STATUS:
        raise ValueError(
            f"status {status!r} ends no request: expected {FIRST_STATUS} to {LAST_STATUS}"
        )
    return status


def check_header(name: str, value: str) -> None:
    """Refuse what is no header.

    Raises:
        ValueError: Its name or its value says so.
    """
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

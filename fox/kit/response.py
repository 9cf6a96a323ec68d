"""The responses that handlers return and that calls to other components return."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Iterator, Mapping
from typing import Any

import msgspec
from multidict import CIMultiDict, CIMultiDictProxy

from broker.dispatch.handling import Reply
from broker.streams.body_sender import Chunks, StreamedBody
from broker.streams.incoming import IncomingStream
from fox.kit import server_sent_events as sse
from kubefox.codec import Body
from kubefox.event import Headers, ResponseHead
from kubefox.http import FIRST_STATUS, LAST_STATUS, breaks_header, is_header_name

TEXT = "text/plain; charset=utf-8"
HTML = "text/html; charset=utf-8"
JSON = "application/json"
BINARY = "application/octet-stream"

Content = str | bytes | bytearray | memoryview | Mapping[str, Any] | list[Any] | None
"""The content of a response: text, bytes, a value to send as JSON, or nothing."""


class Response:
    """Status, headers and body of a response.

    The type of ``content`` decides the content type: text is ``text/plain``, bytes are
    ``application/octet-stream``, a dict or list is sent as ``application/json``. A handler may
    also return such a value in place of a Response; None is an empty response with status 204.

    Args:
        content: Text, bytes, a dict or list to send as JSON, or None for an empty body.
        status: HTTP status, 200 to 599.
        headers: Additional headers, in their order.
        content_type: Content type in place of the one above, with charset for text.

    Attributes:
        status: HTTP status.
        body: The body as bytes; empty if it is a stream.
        source: Sender of a received response, as ``<component>@<hash>``; else empty.

    Raises:
        ValueError: The status or a header is not valid in an HTTP response.

    Example:
        >>> Response({"id": 7}, status=201, headers={"location": "/orders/7"})
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
        self.body, default_type = _encode(content)
        self.status = _check_status(status)
        self.source = ""
        self._streamed: StreamedBody | None = None
        pairs = [(name.lower(), value) for name, value in (headers or {}).items()]
        media = content_type or default_type
        if media and not any(name == "content-type" for name, _ in pairs):
            pairs.append(("content-type", media))
        for name, value in pairs:
            check_header(name, value)
        self._pairs: Headers = tuple(pairs)

    @classmethod
    def html(cls, text: str, *, status: int = 200) -> Response:
        """Return an HTML page.

        Args:
            text: The page.
            status: HTTP status.
        """
        return cls(text, status=status, content_type=HTML)

    @classmethod
    def redirect(cls, location: str, *, status: int = 303) -> Response:
        """Return a redirect.

        Args:
            location: URL or path to go to.
            status: HTTP status. After a form's POST, 303 makes a browser send GET.
        """
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
        """Return a response whose body is made while it is sent; it may have any length.

        ``chunks`` is read only as fast as the client receives. If the client disconnects, the
        iterable is cancelled where it waits, and closed: the ``finally`` of an async generator
        runs.

        Args:
            chunks: Async iterable of bytes, or of text that is sent as UTF-8. The stream ends with
                an error if it yields nothing for a minute (``FOX_STREAM_IDLE_S``); an empty chunk
                prevents that.
            status: HTTP status.
            headers: Additional headers. If they contain ``content-length``, the body must have
                exactly that length.
            content_type: Content type, with charset for text.

        Example:
            >>> async def rows() -> AsyncIterator[str]:
            ...     for number in range(1_000_000):
            ...         yield f"{number},"
            >>> Response.stream(rows(), content_type="text/csv; charset=utf-8")
        """
        response = cls(status=status, headers=headers, content_type=content_type)
        response._streamed = StreamedBody(chunks)
        return response

    @classmethod
    def events(
        cls, events: sse.Events, *, status: int = 200, headers: Mapping[str, str] | None = None
    ) -> Response:
        """Return a response of server-sent events, each of which is sent at once.

        A comment every 15 s keeps the connection open while there are no events.

        Args:
            events: Async iterable of ServerSentEvent. Text, a dict or a list is the data of an
                event without type and id.
            status: HTTP status.
            headers: Additional headers.

        Example:
            >>> async def prices() -> AsyncIterator[ServerSentEvent]:
            ...     while True:
            ...         yield ServerSentEvent(data={"price": await next_price()}, event="price")
            >>> Response.events(prices())
        """
        headers = {**sse.HEADERS, **(headers or {})}
        response = cls(status=status, headers=headers, content_type=sse.MEDIA_TYPE)
        response._streamed = StreamedBody(sse.encode_events(events), sse.KEEP_ALIVE)
        return response

    @classmethod
    def from_wire(cls, head: ResponseHead, body: Body, source: str = "") -> Response:
        """Return a received response; for the runtime.

        Args:
            head: The head.
            body: The body.
            source: Source of the called component or adapter; a head may name any.
        """
        response = cls.__new__(cls)
        response.status = head.status
        response.source = source or head.source
        response.body = bytes(body)
        response._streamed = None  # noqa: SLF001 - of the class itself
        response._pairs = head.headers  # noqa: SLF001 - of the class itself
        return response

    @property
    def headers(self) -> CIMultiDictProxy[str]:
        """The headers, in their order; names are case-insensitive."""
        return CIMultiDictProxy(CIMultiDict(self._pairs))

    @property
    def is_ok(self) -> bool:
        """Whether the status is below 400."""
        return self.status < 400

    @property
    def text(self) -> str:
        """The body decoded as UTF-8; raises UnicodeDecodeError if it is not UTF-8."""
        return self.body.decode()

    def json(self, kind: Any = Any) -> Any:
        """Return the body decoded as JSON.

        Args:
            kind: Type of the result, such as a ``msgspec.Struct``; the body is checked against it.

        Raises:
            msgspec.DecodeError: The body is not JSON, or does not match ``kind``.
        """
        return msgspec.json.decode(self.body, type=kind)

    def to_reply(self) -> Reply:
        """Return the form in which the receiver sends it; for the runtime."""
        return Reply(self.status, self._pairs, self.body, self._streamed)


class StreamedResponse(Response):
    """A response whose body is read while it arrives; see ``ComponentClient.stream``.

    Status and headers have arrived; ``body`` is empty. ``async for chunk in response`` yields the
    chunks of the body, once, and raises a FoxError if the rest of the body will not arrive.
    """

    __slots__ = ("_content",)

    _content: Body | IncomingStream

    @classmethod
    def of(
        cls, head: ResponseHead, content: Body | IncomingStream, source: str
    ) -> StreamedResponse:
        """Return a response that is being received; for the runtime."""
        response = cls.__new__(cls)
        response._begin(head, content, source)  # noqa: SLF001 - of the class itself
        return response

    def _begin(self, head: ResponseHead, content: Body | IncomingStream, source: str) -> None:
        self.status, self.source, self.body = head.status, source, b""
        self._pairs, self._streamed, self._content = head.headers, None, content

    def with_body(self, body: bytes) -> Response:
        """Return the response with its whole body; for the runtime."""
        head = ResponseHead(status=self.status, headers=self._pairs, source=self.source)
        return Response.from_wire(head, body)

    def to_reply(self) -> Reply:
        """Refuse to be the result of a handler: the body ends with the call.

        Raises:
            TypeError: Always.
        """
        raise TypeError(
            "a handler cannot return the response of ComponentClient.stream: "
            "pass its chunks on by Response.stream"
        )

    def __aiter__(self) -> AsyncIterator[bytes]:
        return chunks_of(self._content)


async def chunks_of(content: Body | IncomingStream) -> AsyncIterator[bytes]:
    """Yield the chunks of a body: a stream's, or all of it at once."""
    if not isinstance(content, IncomingStream):
        if content:
            yield bytes(content)
        return
    async for chunk in content:
        if chunk:
            yield bytes(chunk)


def to_reply(result: Response | Content) -> Reply:
    """Return the result of a handler in the form that the receiver sends; None is 204."""
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
            f"status {status!r} cannot end a request: expected {FIRST_STATUS} to {LAST_STATUS}"
        )
    return status


def check_header(name: str, value: str) -> None:
    """Check that a header can be sent.

    Raises:
        ValueError: The name or the value is malformed.
    """
    if not is_header_name(name):
        raise ValueError(f"{name!r} is not a valid name of a header")
    if not isinstance(value, str) or breaks_header(value):
        raise ValueError(f"header {name} must be one line of text, not {value!r}")


def _plain_text(value: object) -> str:
    # The names in ``ctx.headers`` are a subclass of str, which msgspec does not encode.
    if isinstance(value, str):
        return str(value)
    hint = ""
    if isinstance(value, AsyncIterable | Iterator):
        hint = ": send chunks by Response.stream, server-sent events by Response.events"
    raise TypeError(f"{type(value).__name__} cannot be sent as JSON{hint}")


_encode_json = msgspec.json.Encoder(enc_hook=_plain_text).encode

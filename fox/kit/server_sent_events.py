"""Server-sent events, as browsers read them: https://html.spec.whatwg.org/#server-sent-events."""

from __future__ import annotations

import re
from collections.abc import AsyncIterable, AsyncIterator, Mapping
from typing import Any

import msgspec

MEDIA_TYPE = "text/event-stream"
KEEP_ALIVE = b": keep-alive\n\n"
"""A comment, which readers ignore."""
# Without these headers, proxies such as nginx buffer events.
HEADERS = {"cache-control": "no-cache", "x-accel-buffering": "no"}

_LINE_END = re.compile(r"\r\n|\r|\n")


class ServerSentEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One event of ``Response.events``.

    Attributes:
        data: Text, of any number of lines; a dict or list is sent as JSON. None sends no data.
        event: Type of the event; empty stands for ``message``.
        id: Id of the event. A browser that reconnects sends the last id in the header
            ``last-event-id``. Empty sends no id.
        retry_ms: How long the browser waits before it reconnects, in milliseconds; 0 leaves the
            browser's default.
        comment: Text that the page does not receive.

    Example:
        >>> ServerSentEvent(data={"price": 7}, event="price", id="42")
    """

    data: str | Mapping[str, Any] | list[Any] | None = None
    event: str = ""
    id: str = ""
    retry_ms: int = 0
    comment: str = ""

    def encode(self) -> bytes:
        """Return the event in its wire format.

        Raises:
            ValueError: ``event`` or ``id`` has more than one line.
        """
        lines = [f": {line}" for line in _lines(self.comment)] if self.comment else []
        for name, value in (("event", self.event), ("id", self.id)):
            if _LINE_END.search(value) or "\0" in value:
                raise ValueError(f"the {name} of an event must be one line of text, not {value!r}")
            lines += [f"{name}: {value}"] if value else []
        lines += [f"retry: {self.retry_ms}"] if self.retry_ms else []
        lines += [f"data: {line}" for line in _lines(self._text())]
        return "".join(f"{line}\n" for line in (*lines, "")).encode()

    def _text(self) -> str | None:
        if self.data is None or isinstance(self.data, str):
            return self.data
        return msgspec.json.encode(self.data).decode()


Events = AsyncIterable[ServerSentEvent | str | Mapping[str, Any] | list[Any]]


async def encode_events(events: Events) -> AsyncIterator[bytes]:
    """Yield events in their wire format; text and JSON become events of type ``message``."""
    try:
        async for item in events:
            event = item if isinstance(item, ServerSentEvent) else ServerSentEvent(data=item)
            yield event.encode()
    finally:
        close = getattr(events, "aclose", None)
        if close is not None:
            await close()


def _lines(text: str | None) -> list[str]:
    return [] if text is None else _LINE_END.split(text)

"""Server-sent events, as browsers read them: https://html.spec.whatwg.org/#server-sent-events."""

from __future__ import annotations

import re
from collections.abc import AsyncIterable, AsyncIterator, Mapping
from typing import Any

import msgspec

MEDIA = "text/event-stream"
KEEP_ALIVE = b": keep-alive\n\n"
"""A comment, which readers skip."""
# Proxies such as nginx would keep events back until a buffer is full.
HEADERS = {"cache-control": "no-cache", "x-accel-buffering": "no"}

_LINE_END = re.compile(r"\r\n|\r|\n")


class ServerSentEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One event.

    Attributes:
        data: Text, which may have several lines; a dict or list is sent as JSON.
        event: Its type; empty is ``message``.
        id: What the browser tells as ``last-event-id`` when it connects again; empty sends none.
        retry_ms: How long it should wait before it does; 0 sends none.
        comment: Not seen by the page.
    """

    data: str | Mapping[str, Any] | list[Any] | None = None
    event: str = ""
    id: str = ""
    retry_ms: int = 0
    comment: str = ""

    def encode(self) -> bytes:
        """Return it as it is sent.

        Raises:
            ValueError: Type or id have more than one line.
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


async def encoded(events: Events) -> AsyncIterator[bytes]:
    """Yield events as they are sent; text and JSON become events of type ``message``."""
    try:
        async for each in events:
            event = each if isinstance(each, ServerSentEvent) else ServerSentEvent(data=each)
            yield event.encode()
    finally:
        close = getattr(events, "aclose", None)
        if close is not None:
            await close()


def _lines(text: str | None) -> list[str]:
    return [] if text is None else _LINE_END.split(text)

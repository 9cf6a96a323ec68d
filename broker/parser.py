"""The parser of nats-py behind one that knows whole messages of hot subscriptions only.

For every message nats-py matches seven regular expressions, makes an object, queues it and wakes a
task. Here, whole messages at the head of what was read go to their *taker* at once. Messages with
headers or cut in two, and all other commands, are left to nats-py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nats.protocol.parser import AWAITING_CONTROL_LINE, Parser

Taker = Callable[[str, bytes, str], None]
"""Takes a message's subject, payload and reply subject; never waits and never raises."""

_LINE_END = b"\r\n"
_MESSAGE = b"MSG "
_WORDS_WITH_REPLY = 4


class HotParser(Parser):
    """Parses for one client.

    Args:
        client: Of nats-py; takes what is not hot.
        takers: By subscription id.
    """

    def __init__(self, client: Any, takers: dict[int, Taker]) -> None:
        """Begin between two commands."""
        super().__init__(client)
        self._takers = takers
        self._is_parsing = False

    @property
    def is_between_commands(self) -> bool:
        """Whether what is read next begins a command, and nothing before it is in hand."""
        return not (self._is_parsing or self.buf) and self.state == AWAITING_CONTROL_LINE

    async def parse(self, data: bytes = b"") -> None:
        """Hand over what was read."""
        if self.is_between_commands:
            data = data[self.take(data) :]
        if not data:
            return
        self._is_parsing = True
        try:
            await super().parse(data)
        finally:
            self._is_parsing = False

    def take(self, data: bytes) -> int:
        """Hand whole messages to their takers until something else comes; return its place."""
        start = 0
        takers = self._takers
        while data.startswith(_MESSAGE, start):
            line_end = data.find(_LINE_END, start)
            if line_end < 0:
                break
            # Subject, subscription, perhaps a reply subject, size.
            words = data[start + len(_MESSAGE) : line_end].split(b" ")
            body = line_end + len(_LINE_END)
            end = body + int(words[-1])
            take = takers.get(int(words[1]))
            if take is None or len(data) < end + len(_LINE_END):
                break
            reply = text(words[2]) if len(words) == _WORDS_WITH_REPLY else ""
            take(text(words[0]), data[body:end], reply)
            start = end + len(_LINE_END)
        return start


def text(subject: bytes) -> str:
    """Return a subject as text, whatever its bytes are.

    NATS lets clients use any. An error here would end the reading, and with it all that this
    process does until the server drops it.
    """
    return subject.decode(errors="replace")

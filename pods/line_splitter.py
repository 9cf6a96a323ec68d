"""Split a pod's output, which comes in chunks of bytes, into lines of bounded length."""

from __future__ import annotations

import codecs

MAX_CHARACTERS = 8192


class LineSplitter:
    """Splits one pod's output into lines; bytes that are not UTF-8 become U+FFFD."""

    def __init__(self) -> None:
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        self._rest = ""

    def feed(self, chunk: bytes) -> list[str]:
        """Return the lines that ``chunk`` completes, and the full parts of a line too long."""
        *lines, rest = (self._rest + self._decode(chunk)).split("\n")
        full_parts, self._rest = _cut(rest)
        return [part for line in lines for part in _parts(line)] + full_parts

    def finish(self) -> list[str]:
        """Return the text after the last line end."""
        rest, self._rest = self._rest + self._decode(b"", final=True), ""
        return _parts(rest) if rest else []


def _parts(line: str) -> list[str]:
    full_parts, rest = _cut(line.removesuffix("\r"))
    return [*full_parts, rest]


def _cut(text: str) -> tuple[list[str], str]:
    """Return the full-length parts of ``text``, and the rest: empty only if ``text`` is."""
    full_length = max(0, len(text) - 1) // MAX_CHARACTERS * MAX_CHARACTERS
    starts = range(0, full_length, MAX_CHARACTERS)
    return [text[start : start + MAX_CHARACTERS] for start in starts], text[full_length:]

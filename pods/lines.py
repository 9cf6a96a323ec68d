"""Output in chunks of bytes → lines of text, each of bounded length."""

from __future__ import annotations

import codecs

MAX_CHARACTERS = 8192


class LineSplitter:
    """Cuts one pod's output into lines; what is no UTF-8 comes out as U+FFFD."""

    def __init__(self) -> None:
        """Start with nothing read."""
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        self._rest = ""

    def feed(self, chunk: bytes) -> list[str]:
        """Return the lines that ``chunk`` ends, and parts of one that has grown too long."""
        *lines, rest = (self._rest + self._decode(chunk)).split("\n")
        cut, self._rest = _cut(rest)
        return [part for line in lines for part in _parts(line)] + cut

    def finish(self) -> list[str]:
        """Return what came after the last line end."""
        rest, self._rest = self._rest + self._decode(b"", final=True), ""
        return _parts(rest) if rest else []


def _parts(line: str) -> list[str]:
    cut, rest = _cut(line.removesuffix("\r"))
    return [*cut, rest]


def _cut(text: str) -> tuple[list[str], str]:
    """Return the full-length parts of ``text`` and the rest, empty only if ``text`` is."""
    whole = max(0, len(text) - 1) // MAX_CHARACTERS * MAX_CHARACTERS
    starts = range(0, whole, MAX_CHARACTERS)
    return [text[start : start + MAX_CHARACTERS] for start in starts], text[whole:]

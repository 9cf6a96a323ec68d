"""Regular expressions of rules, in linear time.

Developers write rules, and anyone may send requests. With a backtracking engine, one rule such as
``{:(a+)+b}`` and one request would block the event loop for minutes. RE2 never backtracks. See
docs/decisions/011-google-re2.md.

Linear time can still be long: RE2 may execute every instruction of its program for every byte of
the text. This product is the *work* of a match. The program has a limit, which a rule meets when it
is deployed, and a request has a limit for the work of all its matches together.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import re2  # type: ignore[import-untyped]

MAX_LENGTH = 1_000
MAX_INSTRUCTIONS = 2_000
"""Size of a compiled pattern. A class of all letters, ``\\pL``, takes 1,200 instructions."""
WORK_OF_CALL = 120
"""Work that takes as long as a match of an empty text, about 1.2 µs."""
# Enough for the automata of usual patterns. RE2 refuses a program over two thirds of it. When the
# states do not fit the rest, RE2 stops caching them; matching still takes linear time.
_MAX_MEMORY_BYTES = 1 << 20


class RegexError(ValueError):
    """The pattern cannot be compiled; the text gives the reason."""


Spend = Callable[[int], None]
"""Takes work from the limit of a request, and raises HeadersTooLarge when none is left."""


class Regex:
    """A compiled pattern over UTF-8.

    Attributes:
        instructions: Size of its program.
    """

    __slots__ = ("_fullmatch", "instructions")

    def __init__(self, compiled: re2._Regexp) -> None:
        self._fullmatch: Callable[[bytes], object | None] = compiled.fullmatch
        self.instructions: int = compiled.programsize

    def matches(self, text: str, spend: Spend) -> bool:
        """Return whether the whole of ``text`` matches; its work is spent first."""
        encoded = _utf8(text)
        spend(WORK_OF_CALL + self.instructions * len(encoded))
        return self._fullmatch(encoded) is not None


@lru_cache(maxsize=1024)
def compile_regex(pattern: str) -> Regex:
    """Return the compiled pattern.

    Raises:
        RegexError: Too long, too large, or not RE2 syntax.
    """
    if len(pattern) > MAX_LENGTH:
        raise RegexError(f"the pattern is longer than {MAX_LENGTH} characters")
    try:
        regex = Regex(re2.compile(pattern.encode(), _options()))
    except UnicodeEncodeError as error:
        raise RegexError("the pattern cannot be encoded as UTF-8") from error
    except re2.error as error:
        raise RegexError(_message(error)) from error
    if regex.instructions > MAX_INSTRUCTIONS:
        raise RegexError(
            f"the pattern takes {regex.instructions:,} instructions, at most {MAX_INSTRUCTIONS:,}: "
            "use fewer or smaller repetitions and classes"
        )
    return regex


def quote(text: str) -> str:
    """Return the pattern that matches exactly ``text``."""
    quoted: bytes = re2.escape(_utf8(text))
    return quoted.decode()


def _utf8(text: str) -> bytes:
    # JSON values may hold a lone surrogate, which UTF-8 cannot encode; it is replaced.
    return text.encode("utf-8", "replace")


def _options() -> re2.Options:
    options = re2.Options()
    options.max_mem = _MAX_MEMORY_BYTES
    options.never_capture = True
    options.log_errors = False
    return options


def _message(error: Exception) -> str:
    reason = error.args[0] if error.args else ""
    return reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)

"""Regular expressions of rules, in linear time.

Rules come from the people who deploy, requests from anybody: with a backtracking engine one rule
such as ``{:(a+)+b}`` and one request would hold the event loop for minutes. RE2 never backtracks.
See docs/decisions/011-google-re2.md.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Protocol

import re2  # type: ignore[import-untyped]

MAX_LENGTH = 1_000
# Enough for the automata of any sane pattern. RE2 refuses a program over two thirds of it, and
# goes on without caching states, still in linear time, when they do not fit the rest.
_MAX_MEMORY_BYTES = 1 << 20


class RegexError(ValueError):
    """The pattern cannot be compiled; the text says why."""


class Regex(Protocol):
    """A compiled pattern over UTF-8."""

    def fullmatch(self, text: bytes) -> object | None:
        """Return something if the whole text matches, else None."""


@lru_cache(maxsize=1024)
def compile_regex(pattern: str) -> Regex:
    """Return the compiled pattern.

    Raises:
        RegexError: Too long, too large, or not RE2 syntax.
    """
    if len(pattern) > MAX_LENGTH:
        raise RegexError(f"is longer than {MAX_LENGTH} characters")
    try:
        regex: Regex = re2.compile(pattern.encode(), _options())
    except UnicodeEncodeError as error:
        raise RegexError("cannot be written in UTF-8") from error
    except re2.error as error:
        raise RegexError(_message(error)) from error
    return regex


def matches(regex: Regex, text: str) -> bool:
    """Return whether the whole of ``text`` matches."""
    return regex.fullmatch(_utf8(text)) is not None


def quote(text: str) -> str:
    """Return the pattern that matches exactly ``text``."""
    quoted: bytes = re2.escape(_utf8(text))
    return quoted.decode()


def _utf8(text: str) -> bytes:
    # A lone surrogate, which a value out of JSON may hold, is no UTF-8: a character stands for it.
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

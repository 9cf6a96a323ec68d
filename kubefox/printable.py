"""Make untrusted text safe for a terminal: show its control characters instead of sending them."""

from __future__ import annotations

# C0, DEL and C1; further characters that end a line in some terminals; characters that change the
# direction of writing.
_ENDS, _ORDER = (0x2028, 0x2029), (0x61C, 0x200E, 0x200F, *range(0x202A, 0x202F), 0xFEFF)
_CONTROLS = (*range(0x20), *range(0x7F, 0xA0), *_ENDS, *_ORDER, *range(0x2066, 0x206A))
_SHOWN = {code: repr(chr(code))[1:-1] for code in _CONTROLS}
_SHOWN_IN_LINES = {code: text for code, text in _SHOWN.items() if chr(code) not in "\n\t"}

_SHOWN_CHARACTERS = 200


def one_line(text: str) -> str:
    """Return the text in one line, with all control characters shown."""
    return text if text.isprintable() else text.translate(_SHOWN)


def lines(text: str) -> str:
    """Return the text with its lines and tabs, with all other control characters shown."""
    return text.translate(_SHOWN_IN_LINES)


def shortened(text: str) -> str:
    """Return the text, or its start and its length if it is over 200 characters."""
    if len(text) <= _SHOWN_CHARACTERS:
        return text
    return f"{text[:_SHOWN_CHARACTERS]}… ({len(text):,} characters)"

"""Text of anyone's making for a terminal: no control character of it does anything there."""

from __future__ import annotations

# C0, DEL and C1, what else some terminals take for the end of a line, and what changes the order in
# which letters are shown.
_ENDS, _ORDER = (0x2028, 0x2029), (0x61C, 0x200E, 0x200F, *range(0x202A, 0x202F), 0xFEFF)
_CONTROLS = (*range(0x20), *range(0x7F, 0xA0), *_ENDS, *_ORDER, *range(0x2066, 0x206A))
_SHOWN = {each: repr(chr(each))[1:-1] for each in _CONTROLS}
_SHOWN_IN_LINES = {each: text for each, text in _SHOWN.items() if chr(each) not in "\n\t"}


def one_line(text: str) -> str:
    """Return a text in which control characters are shown, in one line."""
    return text if text.isprintable() else text.translate(_SHOWN)


def lines(text: str) -> str:
    """Return a text of several lines; all other control characters are shown."""
    return text.translate(_SHOWN_IN_LINES)

"""The errors that msgspec raises for what cannot be decoded."""

from __future__ import annotations

import re

import msgspec

from kubefox import printable

# Invalid UTF-8 and data nested too deeply raise errors of Python, not of msgspec.
DECODE_ERRORS = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
# The form of msgspec's messages: the fault, then the path of the field.
_MESSAGE = re.compile(r"(?P<fault>.*) - at `(?:key in )?\$\.?(?P<path>.*)`", re.DOTALL)


def split_message(error: msgspec.ValidationError) -> tuple[str, str]:
    """Return the fault and the dotted path in a message; the path is empty for the whole file.

    Both are shortened: they may contain a value or a key of the file.
    """
    found = _MESSAGE.fullmatch(str(error))
    fault, path = (found["fault"], found["path"]) if found else (str(error), "")
    return printable.shortened(fault), printable.shortened(path)

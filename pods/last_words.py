"""What a pod's last line of output says about its end, for people: short, and on one line."""

from __future__ import annotations

import msgspec

from model import printable
from model.decoding import UNREADABLE

_MAX_CHARACTERS = 200
_OF_NORMAL_LIFE = {"debug", "info"}


class _Logged(msgspec.Struct, frozen=True, kw_only=True):
    """The fields of a logged line that matter here."""

    level: str
    message: str
    exception: str = ""


_decode = msgspec.json.Decoder(_Logged).decode


def reason(line: str) -> str:
    """Return why a pod ended, as far as its last line tells; empty if it tells nothing of it."""
    try:
        logged = _decode(line)
    except UNREADABLE:
        return _short(line)
    if logged.level in _OF_NORMAL_LIFE:
        return ""
    # The last line of a traceback says what it is about.
    raised = logged.exception.rstrip().rpartition("\n")[2]
    return ": ".join(filter(None, map(_short, (logged.message, raised))))


def _short(text: str) -> str:
    return printable.one_line(text.strip())[:_MAX_CHARACTERS]

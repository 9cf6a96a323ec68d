"""Read from a pod's last line of output why it ended: one short line, for people."""

from __future__ import annotations

import msgspec

from kubefox import printable
from kubefox.decoding import DECODE_ERRORS

_MAX_CHARACTERS = 200
_UNRELATED_LEVELS = {"debug", "info"}


class _LoggedLine(msgspec.Struct, frozen=True, kw_only=True):
    """The fields of a log line that can say why the pod ended."""

    level: str
    message: str
    exception: str = ""


_decode = msgspec.json.Decoder(_LoggedLine).decode


def exit_reason(last_line: str) -> str:
    """Return the reason that a pod's last line gives for its end, or an empty string."""
    try:
        logged = _decode(last_line)
    except DECODE_ERRORS:
        return _shorten(last_line)
    if logged.level in _UNRELATED_LEVELS:
        return ""
    # The last line of a traceback names the exception.
    raised = logged.exception.rstrip().rpartition("\n")[2]
    return ": ".join(filter(None, map(_shorten, (logged.message, raised))))


def _shorten(text: str) -> str:
    return printable.one_line(text.strip())[:_MAX_CHARACTERS]

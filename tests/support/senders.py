"""The subjects on which events of a source are sent."""

from __future__ import annotations

from kubefox import subjects
from kubefox.senders import Sender


def sent_by(source: str, target: str, app: str = "shop") -> str:
    """Return the subject on which ``source`` sends its events to a target."""
    return subjects.request_to(target, Sender(app, source))

"""Messages from nats-server itself: they have a status instead of data."""

from __future__ import annotations

from nats.aio.msg import Msg

_NO_RESPONDERS = "503"


def server_status(message: Msg) -> str:
    """Return the status of a message from the server itself, such as ``503``; empty for data."""
    return (message.headers or {}).get("Status", "")


def is_no_responders(message: Msg) -> bool:
    """Return whether a message says that its subject has no subscriber."""
    return server_status(message) == _NO_RESPONDERS

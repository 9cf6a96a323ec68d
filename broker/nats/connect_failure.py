"""Why a first connection has failed: no server is there, or one that does not accept the client.

A server that refuses a client sends the reason and closes the connection. It may close it while
bytes of the client are unread; then the reset of the connection can overtake the reason. A server
has greeted the client in any case, so it is never called absent.
"""

from __future__ import annotations

from typing import NamedTuple

from nats.errors import UnexpectedEOF

_VIOLATION = "authorization violation"
_CURE = "name a file that it accepts with --nats-credentials or FOX_NATS_CREDENTIALS"


class Attempt(NamedTuple):
    """An attempt to connect that has failed.

    Attributes:
        url: Of the servers; passwords in it are not shown.
        error: Of the last one; None if the server has closed the connection without a word.
        was_greeted: Whether a NATS server has answered.
        is_anonymous: Whether the client has no credentials.
    """

    url: str
    error: Exception | None
    was_greeted: bool
    is_anonymous: bool

    @property
    def text(self) -> str:
        """The failure and its cure."""
        reason = str(self.error or "")
        if not self.was_greeted:
            return f"no NATS at {without_password(self.url)}: {reason}"
        who = "clients without credentials" if self.is_anonymous else "these credentials"
        server = f"the NATS server at {_addresses(self.url)}"
        if _VIOLATION in reason.lower():
            return f"{server} refuses {who} (Authorization Violation): {_CURE}"
        if self.error is None or isinstance(self.error, ConnectionError | UnexpectedEOF):
            shown = f" ({reason})" if reason else ""
            return (
                f"{server} ends the connection{shown}. It may refuse {who}: {_CURE}; its log says "
                "why it ended the connection"
            )
        return f"{server} refuses the connection: {reason or type(self.error).__name__}"


def without_password(url: str) -> str:
    """Return the addresses of a URL, which may name several servers."""
    return ",".join(server.rpartition("@")[2] for server in url.split(","))


def _addresses(url: str) -> str:
    return ",".join(server.rpartition("://")[2] for server in without_password(url).split(","))

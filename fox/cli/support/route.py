"""How the control API is reached where its URL does not lead there: through a tunnel."""

from __future__ import annotations

import http.client
import socket
import ssl
from typing import NamedTuple, Protocol

Address = tuple[str, int]


class Endpoint(NamedTuple):
    """A control API at the other end of a tunnel.

    Attributes:
        url: Of the control API where it runs; it has the name that its certificate must have.
        place: Where that is, for messages.
        entrance: Address and port of this machine that lead there.
        arrival: Address and port at which the control API is asked, for its proof.
        token_command: Makes a token there, for messages.
    """

    url: str
    place: str
    entrance: Address
    arrival: Address
    token_command: str = ""


class Route(Protocol):
    """Makes tunnels to the control API of one platform.

    Attributes:
        fault: Why the last tunnel has ended, in the words of its program; empty if it is not known.
    """

    fault: str

    def endpoint(self) -> Endpoint:
        """Return the end of a tunnel; a new one is made if the last one has ended.

        Raises:
            FoxError: A tunnel cannot be made.
        """

    def renew(self) -> None:
        """End the tunnel, because it does not lead to the control API any more."""


class TunnelConnection(http.client.HTTPConnection):
    """A connection through a tunnel; name and port of the server are those of its own URL.

    So its Host header is that of a client beside the server, and so is the name that its
    certificate must have.

    Args:
        host: Of the URL of the server.
        port: Of the URL.
        entrance: Where to connect.
        timeout_s: Longest time without data.
        tls: With TLS; None without.
    """

    def __init__(
        self,
        host: str,
        port: int | None,
        entrance: Address,
        timeout_s: float | None,
        tls: ssl.SSLContext | None,
    ) -> None:
        super().__init__(host, port, timeout=timeout_s)
        self._entrance = entrance
        self._tls = tls

    def connect(self) -> None:
        """Connect to the tunnel."""
        self.sock = socket.create_connection(self._entrance, self.timeout)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._tls is not None:
            self.sock = self._tls.wrap_socket(self.sock, server_hostname=self.host)

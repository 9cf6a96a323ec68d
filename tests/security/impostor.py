"""A program of somebody else on a port where a user expects the platform."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator

Answer = Callable[[socket.socket], None]


class Impostor:
    """A program of somebody else on a port of this machine.

    Attributes:
        url: Of its port.
        received: All that it was sent, on whichever connection.
    """

    def __init__(self, server: socket.socket, answer: Answer) -> None:
        host, port = server.getsockname()
        self.url = f"http://{host}:{port}"
        self.received = b""
        self._server, self._answer = server, answer
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connected, _ = self._server.accept()
                connected.settimeout(30)
                with connected, contextlib.suppress(OSError):
                    self._answer(connected)
                    while content := connected.recv(1 << 16):
                        self.received += content
                        self._answer(connected)


@contextlib.contextmanager
def impostor(answer: Answer, port: int = 0, host: str = "127.0.0.1") -> Iterator[Impostor]:
    """Run an impostor that calls ``answer`` with each connection, and after all that it gets."""
    with socket.create_server((host, port)) as server:
        yield Impostor(server, answer)
        with contextlib.suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)


def answers(content: bytes) -> Answer:
    return lambda connected: connected.sendall(content)

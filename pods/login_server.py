"""The runner's end of a pod's login channel: it signs, so the pod needs no key.

``broker.nats.credentials.login_channel`` is the pod's end, and describes the lines. Each connection
to NATS needs a signature of its own. So what can log in as a pod ends with the pod, whatever its
code has copied, and a pod makes new connections no faster than this signs.
"""

from __future__ import annotations

import asyncio
import math
import socket

import msgspec

from broker.nats.credentials.login import Login
from broker.nats.credentials.login_channel import CHANNEL_BYTES, LINE_END, PodLogin

BURST = 20
"""Signatures that a pod gets at once: one for each try to connect, also in a cluster."""
INTERVAL_S = 1.0
"""Time between two signatures after that."""
_NONCE_BYTES = 256
_READ_BYTES = 4 << 10


class LoginServer:
    """Gives one start of a pod its login, and signs the challenges of NATS for it.

    Args:
        login: Of the pod; its key stays here.

    Attributes:
        pod_end: Descriptor for the pod; ``close_pod_end`` closes it once the pod has inherited it.
    """

    def __init__(self, login: Login) -> None:
        self._credentials = login.credentials
        self._loop = asyncio.get_running_loop()
        self._unread = b""
        self._next_s = -math.inf
        self._socket, self._pods_socket = socket.socketpair()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, CHANNEL_BYTES)
        self._pods_socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, CHANNEL_BYTES)
        self._socket.setblocking(False)
        self._socket.sendall(_encode(login))
        self._loop.add_reader(self._socket, self._on_readable)

    @property
    def pod_end(self) -> int:
        """Descriptor for the pod."""
        return self._pods_socket.fileno()

    def close_pod_end(self) -> None:
        """Close the pod's end here, once the pod has inherited it."""
        self._pods_socket.close()

    def close(self) -> None:
        """Sign nothing any more; a second call has no effect."""
        self.close_pod_end()
        if self._socket.fileno() >= 0:
            self._loop.remove_reader(self._socket)
            self._socket.close()

    def _on_readable(self) -> None:
        try:
            read = self._socket.recv(_READ_BYTES)
        except ConnectionResetError:
            read = b""
        *nonces, self._unread = (self._unread + read).split(LINE_END)
        if not read or len(self._unread) > _NONCE_BYTES:
            self.close()
        elif nonces:
            self._sign(nonces[-1])

    def _sign(self, nonce: bytes) -> None:
        """Answer the last challenge: the pod has given up those before it."""
        if self._credentials is None or len(nonce) > _NONCE_BYTES:
            self.close()
            return
        signature = self._credentials.sign(nonce.decode(errors="replace"))
        try:
            self._socket.sendall(nonce + b" " + signature + LINE_END)
        except OSError:
            # The pod has ended, or does not read its answers.
            self.close()
            return
        self._pause_when_spent()

    def _pause_when_spent(self) -> None:
        now_s = self._loop.time()
        self._next_s = max(self._next_s, now_s - (BURST - 1) * INTERVAL_S) + INTERVAL_S
        if self._next_s > now_s:
            self._loop.remove_reader(self._socket)
            self._loop.call_at(self._next_s, self._resume)

    def _resume(self) -> None:
        if self._socket.fileno() >= 0:
            self._loop.add_reader(self._socket, self._on_readable)


def _encode(login: Login) -> bytes:
    token = login.credentials.token if login.credentials is not None else ""
    pods_login = PodLogin(url=login.url, process_id=login.process_id, token=token)
    return msgspec.json.encode(pods_login) + LINE_END

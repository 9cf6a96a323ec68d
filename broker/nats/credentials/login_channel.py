"""The login of a pod, whose runner keeps the key: the pod's end of their channel.

The channel is a pair of connected sockets. The runner writes the login, one line of JSON. For each
connection to NATS, the pod then writes a line with the server's challenge, and the runner answers
with a line that repeats it and holds the signature (``pods.login_server``). So no code in a pod can
take its credentials elsewhere, and a pod loads no cryptography, which would take 7 MiB.
"""

from __future__ import annotations

import asyncio
import socket

import msgspec

LINE_END = b"\n"
CHANNEL_BYTES = 256 << 10
"""Size of the channel: the login of a pod with 100 dependencies takes 32 KiB."""
_ANSWER_S = 2.0
"""nats-server closes a connection that has not logged in within 2 s."""
_READ_BYTES = 64 << 10


class PodLogin(msgspec.Struct, frozen=True, kw_only=True):
    """The login of one start of a pod.

    Attributes:
        url: ``nats://host:port``, several separated by commas.
        process_id: Id of the process; its permissions hold for subjects with it.
        token: Signed claims of its user; empty if NATS requires none, or takes them from the URL.
    """

    url: str
    process_id: str
    token: str = ""


_decode_login = msgspec.json.Decoder(PodLogin).decode


def adopt_channel(descriptor: int) -> socket.socket:
    """Return the pod's end of the channel; no program that the pod starts inherits it."""
    channel = socket.socket(fileno=descriptor)
    channel.set_inheritable(False)
    return channel


def read_login(channel: socket.socket) -> PodLogin:
    """Return the login that the runner has written. This blocks.

    Raises:
        OSError: The runner has ended.
        msgspec.MsgspecError: The line is not valid.
    """
    line = b""
    while not line.endswith(LINE_END):
        read = channel.recv(_READ_BYTES)
        if not read:
            raise _runner_gone()
        line += read
    return _decode_login(line)


class RemoteSigner:
    """Asks the runner to sign; a ``Signer``.

    Args:
        channel: The pod's end, from which the login has been read.
        token: Signed claims of the user.
    """

    def __init__(self, channel: socket.socket, token: str) -> None:
        self.token = token
        self._channel = channel
        self._channel.setblocking(False)
        self._unread = b""

    async def answer(self, nonce: str) -> bytes:
        """Return the signature of a challenge; see ``Signer``."""
        asked = nonce.encode()
        try:
            async with asyncio.timeout(_ANSWER_S):
                await asyncio.get_running_loop().sock_sendall(self._channel, asked + LINE_END)
                while True:
                    # An earlier challenge may be answered after its time limit.
                    answered, _, signature = (await self._read_line()).partition(b" ")
                    if answered == asked:
                        return signature
        except TimeoutError as error:
            raise TimeoutError(
                f"the pod runner has signed no login to NATS within {_ANSWER_S:g} s"
            ) from error

    async def _read_line(self) -> bytes:
        while LINE_END not in self._unread:
            read = await asyncio.get_running_loop().sock_recv(self._channel, _READ_BYTES)
            if not read:
                raise _runner_gone()
            self._unread += read
        line, _, self._unread = self._unread.partition(LINE_END)
        return line


def _runner_gone() -> OSError:
    return ConnectionAbortedError("the pod runner, which signs logins to NATS, has ended")

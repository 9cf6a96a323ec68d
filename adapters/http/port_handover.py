"""A running ``fox serve http`` hands its port to a new one without a refused connection.

The new process gets the listening sockets themselves, so that every connection finds a listening
socket at any moment, and none is lost between the queues of two sockets. They talk on a
Unix socket:

1. The new process says which NATS servers it uses. The old one sends the listening sockets, or
   refuses: another platform must not get the port.
2. Both accept connections when the new one is ready; it says so.
3. The old process stops to offer the port and closes the Unix socket. It drains; the new one
   offers the port from now on.

If the new process ends before step 2, the old one goes on. The name of the Unix socket is abstract
(Linux): it belongs to the network namespace of the port, and ends with its process. Any user can
connect to such a name or bind it, so that both sides check the user of the other one.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import socket
import struct
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from urllib.parse import urlsplit

import msgspec

from adapters.http import shared_port
from broker.runtime.settings import Settings
from kubefox.decoding import DECODE_ERRORS
from kubefox.errors import Conflict, InvalidRequest

logger = logging.getLogger(__name__)

TIMEOUT_S = 10.0
_READY = b"ready\n"
_MAX_MESSAGE_BYTES = 1 << 16
# The kernel's limit of descriptors in one message.
_MAX_SOCKETS = 253
_NATS_PORT = 4222
_CREDENTIALS = struct.Struct("3i")


class Proposal(msgspec.Struct, frozen=True, kw_only=True):
    """The first message of the new process.

    Attributes:
        nats: Servers of its NATS, ``host:port`` each.
    """

    nats: list[str]


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """The answer of the old process; the sockets come with it.

    Attributes:
        refusal: Why there are no sockets; empty if there are.
    """

    refusal: str = ""


_proposal_of = msgspec.json.Decoder(Proposal).decode
_answer_of = msgspec.json.Decoder(Answer).decode


class ClaimedPort:
    """A port that this process may listen on; made by ``claim_port``.

    Attributes:
        host: Address of the sockets.
        port: Never 0.
        sockets: One for each worker or more; not all of them listen.
    """

    def __init__(self, host: str, port: int, nats_url: str) -> None:
        self.host, self.port = host, port
        self.sockets: list[socket.socket] = []
        self._nats = nats_servers(nats_url)
        self._offer: socket.socket | None = None
        self._predecessor: socket.socket | None = None

    def claim(self, count: int, *, takes_over: bool) -> None:
        """Take the sockets over from a process that offers them, and bind those that lack.

        Raises:
            Conflict: A process refuses to hand the port over, or does not answer.
            OSError: The port is in use, or this user may not bind it.
        """
        if not (takes_over and self._take_over()):
            shared_port.check_free(self.host, self.port)
            self._bind_offer()
        shared_port.add_sockets(self.sockets, count, self.host, self.port)

    def close_sockets(self) -> None:
        """Close this process's copies of the listening sockets.

        A process that stops must not keep them: connections would wait in them unanswered.
        """
        for shared in self.sockets:
            shared.close()

    def close(self) -> None:
        """Close the sockets and end the offer: another process can claim the port then."""
        self.close_sockets()
        for other in (self._offer, self._predecessor):
            if other is not None:
                other.close()

    @contextlib.asynccontextmanager
    async def announced(self, on_taken: Callable[[], None]) -> AsyncIterator[None]:
        """Report that requests are accepted, and offer the port while the context lasts.

        At the end, the sockets are closed. The workers have their own copies.

        Args:
            on_taken: Called when another process has taken the port over and is ready.
        """
        if self._predecessor is not None:
            await self._dismiss(self._predecessor)
        try:
            if self._offer is None:
                yield
                return
            async with asyncio.TaskGroup() as group:
                offering = group.create_task(self._hand_over(self._offer, on_taken))
                yield
                offering.cancel()
        finally:
            self.close()

    def _take_over(self) -> bool:
        """Return whether a process has handed its sockets over; without one, nothing is done."""
        if not _HAS_ABSTRACT_NAMES:
            raise InvalidRequest("--take-over needs Linux: stop the old process first")
        predecessor = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        predecessor.settimeout(TIMEOUT_S)
        try:
            predecessor.connect(self._offer_name)
        except ConnectionRefusedError:
            predecessor.close()
            return False
        self._predecessor = predecessor
        try:
            self.sockets += self._receive_sockets(predecessor)
        except OSError as error:
            raise Conflict(
                f"the process that serves port {self.port} did not hand it over within "
                f"{TIMEOUT_S:g} s: another one may be taking it over; try again later"
            ) from error
        return True

    def _receive_sockets(self, predecessor: socket.socket) -> list[socket.socket]:
        user_id = _peer(predecessor).user_id
        if user_id not in (0, os.geteuid()):
            raise Conflict(f"port {self.port} is offered by a process of user id {user_id}")
        predecessor.sendall(msgspec.json.encode(Proposal(nats=sorted(self._nats))))
        message, descriptors, _, _ = socket.recv_fds(
            predecessor, _MAX_MESSAGE_BYTES, _MAX_SOCKETS, socket.MSG_CMSG_CLOEXEC
        )
        if not message:
            raise ConnectionResetError
        refusal = _answer_of(message).refusal
        if refusal:
            raise Conflict(refusal)
        return [shared_port.adopt(descriptor) for descriptor in descriptors]

    async def _dismiss(self, predecessor: socket.socket) -> None:
        """Make the process that had the port drain; offer the port in its place."""
        loop = asyncio.get_running_loop()
        predecessor.setblocking(False)
        with contextlib.suppress(OSError, TimeoutError):  # it has ended
            async with asyncio.timeout(TIMEOUT_S):
                await loop.sock_sendall(predecessor, _READY)
                await loop.sock_recv(predecessor, 1)
        try:
            self._bind_offer()
        except OSError as error:
            logger.warning("port %d cannot be taken over from this process: %s", self.port, error)

    def _bind_offer(self) -> None:
        """Bind the name that the port is offered under; only one process can."""
        if not _HAS_ABSTRACT_NAMES:
            return
        offer = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            offer.bind(self._offer_name)
        except OSError as error:
            offer.close()
            if error.errno == errno.EADDRINUSE:
                raise
            logger.warning("port %d cannot be taken over from this process: %s", self.port, error)
        else:
            self._offer = offer

    @property
    def _offer_name(self) -> str:
        return f"\0kubefox/http/{self.host}/{self.port}"

    async def _hand_over(self, offer: socket.socket, on_taken: Callable[[], None]) -> None:
        """Offer the port until a process has taken it over."""
        offer.setblocking(False)
        offer.listen()
        while True:
            successor, _ = await asyncio.get_running_loop().sock_accept(offer)
            with successor:
                if await self._serve_successor(successor):
                    offer.close()
                    on_taken()
                    return

    async def _serve_successor(self, successor: socket.socket) -> bool:
        """Return whether a process has taken the port over and is ready."""
        loop, process_id = asyncio.get_running_loop(), _peer(successor).process_id
        try:
            async with asyncio.timeout(TIMEOUT_S):
                message = await loop.sock_recv(successor, _MAX_MESSAGE_BYTES)
            refusal = self._refusal_of(successor, message)
            answer = msgspec.json.encode(Answer(refusal=refusal))
            descriptors = [] if refusal else [shared.fileno() for shared in self.sockets]
            socket.send_fds(successor, [answer], descriptors)
            if not refusal:
                logger.info("process %d starts to take over port %d", process_id, self.port)
                if await loop.sock_recv(successor, len(_READY)) == _READY:
                    logger.info("process %d has taken over port %d", process_id, self.port)
                    return True
                refusal = "it ended before it was ready"
        except (OSError, TimeoutError) as error:
            refusal = str(error) or type(error).__name__
        logger.warning("process %d has not taken over port %d: %s", process_id, self.port, refusal)
        return False

    def _refusal_of(self, successor: socket.socket, message: bytes) -> str:
        """Return why a process must not get the port; empty if it may."""
        if _peer(successor).user_id not in (0, os.geteuid()):
            return f"port {self.port} is served by a process of another user"
        try:
            nats = set(_proposal_of(message).nats)
        except DECODE_ERRORS:
            return f"port {self.port} is served by another version of KubeFox: stop it first"
        if not nats & self._nats:
            return (
                f"port {self.port} is served by a platform on NATS {', '.join(sorted(self._nats))}"
                f"; this one uses {', '.join(sorted(nats))}: set another port with --http-port"
            )
        return ""


@contextlib.contextmanager
def claim_port(settings: Settings, count: int) -> Iterator[ClaimedPort]:
    """Claim the port of the settings for this process and its workers, until the context ends.

    Args:
        settings: Of the process.
        count: Number of sockets, at least.

    Raises:
        Conflict: A process refuses to hand the port over, or does not answer.
        InvalidRequest: The port cannot be taken over.
        OSError: The port is in use, or this user may not bind it.
    """
    if settings.http_take_over and not settings.http_port:
        raise InvalidRequest("--take-over needs the number of the port: set --http-port")
    host, port = shared_port.resolve(settings.http_host, settings.http_port)
    claimed = ClaimedPort(host, port, settings.nats_url)
    try:
        claimed.claim(count, takes_over=settings.http_take_over)
        yield claimed
    finally:
        claimed.close()


def nats_servers(url: str) -> set[str]:
    """Return the servers of a NATS URL, without credentials: ``host:port`` each."""
    found = set()
    for server in url.split(","):
        parts = urlsplit(server.strip() if "//" in server else f"nats://{server.strip()}")
        found.add(f"{parts.hostname or ''}:{parts.port or _NATS_PORT}")
    return found


class _Peer(msgspec.Struct, frozen=True):
    """The process at the other end of a Unix socket."""

    process_id: int
    user_id: int


def _peer(connected: socket.socket) -> _Peer:
    packed = connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    process_id, user_id, _ = _CREDENTIALS.unpack(packed)
    return _Peer(process_id, user_id)


_HAS_ABSTRACT_NAMES = sys.platform.startswith("linux")

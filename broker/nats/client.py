"""The client of nats-py with a fast path for frequent messages, and a ``flush`` that keeps order.

A round trip through ``nc.request`` and a callback costs 29 µs of CPU at both ends together; with
the fast path and the inbox it costs 14. ``broker.nats.parser`` is the way in and
``broker.nats.transport`` is the socket. On the way out, nats-py enters four coroutines for every
message; the fast path is one plain function that writes to the socket. Everything else takes
nats-py's own way: headers, and publishing while disconnected or under back-pressure.

``broker.nats.private_api`` lists what this uses of nats-py's inside. Each fast-path subscription
also has a nats-py callback. If nats-py changes inside, messages still arrive through that.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import Error as NatsError

from broker.nats.connect_failure import Attempt
from broker.nats.credentials.signer import Signer
from broker.nats.parser import FastPathParser, MessageCallback, RawCallback, decode_subject
from broker.nats.transport import FastPathTransport
from broker.runtime.cancelling import within
from kubefox.errors import NatsUnavailable

logger = logging.getLogger(__name__)

_LINE_END = b"\r\n"
_CLOSE_S = 5
_RECONNECT_WAIT_S = 0.1
_PING_INTERVAL_S = 20
_CLUSTER_PING_INTERVAL_S = 1.9
"""A server that hangs is left at the third ping without an answer: within 6 s."""
LEAST_PAYLOAD_BYTES = 1 << 20
"""The default of nats-server: a body of 512 KiB and its head fit into one message."""
_CONNECT_TIMEOUT_S = 2
_ATTEMPT_S = 3 * _CONNECT_TIMEOUT_S
"""An attempt waits for the socket, for the greeting of the server and for its answer."""
# Above this, publishing waits for the socket, as nats-py does.
_MAX_UNWRITTEN_BYTES = 1 << 20


class FastPathClient(Client):
    """A client whose subscriptions may have fast-path callbacks.

    Attributes:
        callbacks: Fast-path callbacks, by subscription id.
        raw_callbacks: Raw callbacks, by subscription id.
        signer: Answers the challenges of servers; None for those that require no credentials.
        was_greeted: Whether a server of NATS has answered at least once.
        barrier: Returns when the server has processed everything that was sent.
    """

    barrier: Callable[[], Awaitable[None]]

    def __init__(self) -> None:
        super().__init__()
        self.callbacks: dict[int, MessageCallback] = {}
        self.raw_callbacks: dict[int, RawCallback] = {}
        self.signer: Signer | None = None
        self.was_greeted = False
        self._signature = b""
        self._parser = FastPathParser(self, self.callbacks, self.raw_callbacks)
        self._ps = self._parser
        self._transport: FastPathTransport = FastPathTransport(self._parser)

    async def subscribe_fast_path(
        self, subject: str, callback: MessageCallback, queue: str = ""
    ) -> Subscription:
        """Subscribe, and pass messages to ``callback`` as soon as they are read.

        Messages with headers go to it as well, but through nats-py's queue.
        """

        async def receive(message: Msg) -> None:
            callback(message.subject, message.data, message.reply)

        return self.add_fast_path(await self.subscribe(subject, queue, cb=receive), callback)

    def add_fast_path(self, subscription: Subscription, callback: MessageCallback) -> Subscription:
        """Pass a subscription's messages without headers to ``callback`` as soon as they are read.

        Messages with headers still go to the subscription's own callback.
        """
        self.callbacks[subscription._id] = callback  # noqa: SLF001 - see private_api
        return subscription

    async def subscribe_queued(
        self, subject: str, receive: Callable[[Msg], Awaitable[None]], queue: str = ""
    ) -> Subscription:
        """Subscribe, and pass messages to ``receive``, one after another.

        nats-py does the same with ``subscribe``. Its parser would take the rest of what was read
        as well: the fast-path messages behind such a message would arrive a turn of the loop later.
        """
        subscription = await self.subscribe(subject, queue, cb=receive, pending_bytes_limit=-1)
        waiting = subscription._pending_queue  # noqa: SLF001 - see private_api

        def put(on: str, payload: bytes, reply: str) -> None:
            try:
                waiting.put_nowait(Msg(self, on, reply, payload))
            except asyncio.QueueFull:
                logger.warning("a message on %s is dropped: too many wait", on)
            else:
                subscription._pending_size += len(payload)  # noqa: SLF001 - see private_api

        return self.add_fast_path(subscription, put)

    async def subscribe_raw(self, subject: str, callback: RawCallback) -> Subscription:
        """Subscribe, and pass all messages to ``callback`` as they are read, headers as bytes."""
        subscription = await self.subscribe(subject, cb=_ignore)
        self.raw_callbacks[subscription._id] = callback  # noqa: SLF001 - see private_api
        return subscription

    def remove_fast_path(self, subscription: Subscription) -> None:
        """Remove the subscription's fast-path or raw callback."""
        self.callbacks.pop(subscription._id, None)  # noqa: SLF001 - see private_api
        self.raw_callbacks.pop(subscription._id, None)  # noqa: SLF001 - see private_api

    def call_after_write(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` once, after what is sent in this turn of the loop was written."""
        self._transport.call_after_write(callback)

    def send(self, subject: str, payload: bytes, reply: str) -> bool:
        """Send one message, or return False if only nats-py's ``publish`` can send or refuse it."""
        transport = self._transport
        # Data that nats-py has not written goes first. The server ends a connection that publishes
        # a payload over its limit, or to an empty subject.
        if (
            self._pending
            or not subject
            or self._status != Client.CONNECTED
            or len(payload) > self._max_payload
            or transport.unwritten_bytes > _MAX_UNWRITTEN_BYTES
        ):
            return False
        line = f"PUB {subject} {reply} {len(payload)}\r\n".encode()
        transport.send(b"".join((line, payload, _LINE_END)))
        return True

    def post(self, subject: str, payload: bytes, reply: str) -> bool:
        """Send one short message behind all that waits to be written, however much that is.

        Returns:
            Whether it is on its way: it cannot be sent without a connection, without a subject, or
            over the server's limit.
        """
        if self.send(subject, payload, reply):
            return True
        is_sendable = subject and len(payload) <= self._max_payload
        if not is_sendable or self._status != Client.CONNECTED:
            return False
        line = f"PUB {subject} {reply} {len(payload)}\r\n".encode()
        command = b"".join((line, payload, _LINE_END))
        if self._pending:
            # nats-py writes all of them soon.
            self._pending.append(command)
            self._pending_data_size += len(command)
        else:
            self._transport.send(command)
        return True

    @property
    def is_clustered(self) -> bool:
        """Whether there is more than one server to connect to."""
        return len(self.servers) > 1

    async def publish(
        self,
        subject: str,
        payload: bytes = b"",
        reply: str = "",
        headers: dict[str, str] | None = None,
    ) -> None:
        """Send one message; see nats-py."""
        if headers is not None or not self.send(subject, payload, reply):
            await super().publish(subject, payload, reply, headers)

    async def _process_info(self, info: dict[str, Any], initial_connection: bool = False) -> None:
        self.was_greeted = True
        await super()._process_info(info, initial_connection)
        if initial_connection and self.signer is not None and "nonce" in info:
            # nats-py's callback cannot wait, and the signer may be another process.
            self._signature = await self.signer.answer(info["nonce"])

    def last_signature(self, _nonce: str) -> bytes:
        """Return the signature of the challenge of this connection, for nats-py."""
        return self._signature

    async def _attempt_reconnect(self) -> None:
        # Requests that were not written are failed, and nothing must be written to a server that is
        # left: nats-py waits for that before it connects to another one.
        self._transport.abort()
        await super()._attempt_reconnect()

    async def close(self) -> None:
        """Close the connection; see nats-py."""
        if not self._transport.is_open:
            # nats-py would fail to write it, and leave the rest open.
            self._pending, self._pending_data_size = [], 0
        await super().close()

    def _connect_command(self) -> bytes:
        server, transport = self._current_server, self._transport
        if server is not None and server.uri.scheme == "tls" and not transport.is_encrypted:
            # nats-py goes on without TLS if the server does not ask for it.
            raise NatsError("the URL says tls://, and the server offers no TLS")
        command: bytes = super()._connect_command()
        return command

    async def flush(self, timeout: int = 0) -> None:  # noqa: ASYNC109 - the signature is nats-py's
        """Return when the server has processed everything that was sent; draining calls this.

        nats-py's own flush writes its PING before commands that still wait to be written. Its PONG
        then arrives before a subscription is made or removed, and messages in between are lost.
        """
        await self.barrier()

    async def _process_msg(
        self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes
    ) -> None:
        raw_callback = self.raw_callbacks.get(sid)
        if raw_callback is not None:
            raw_callback(subject, reply or b"", headers or b"", data)
            self._parser.deliver_buffered()
            return
        callback = self.callbacks.get(sid)
        if callback is not None and not headers:
            callback(decode_subject(subject), data, decode_subject(reply))
            return
        try:
            await super()._process_msg(sid, subject, reply, data, headers)
        except UnicodeDecodeError:
            logger.warning("a message is dropped: its subject or reply subject is not UTF-8")


async def _ignore(_message: Msg) -> None:
    """Receive nothing: the raw callback gets all messages."""


async def connect_client(
    client: FastPathClient,
    url: str,
    timeout_s: float,
    credentials: Signer | None = None,
    **options: Any,
) -> None:
    """Connect a client, which reconnects for ever from then on; close it if that fails.

    Args:
        client: The client.
        url: ``nats://[user:password@]host:port``, several separated by commas.
        timeout_s: How long the first connection may take. The first attempt to connect may end
            later: only its failure names the cause.
        credentials: If the server requires them; None takes those in the URL.
        options: Further options of nats-py's ``Client.connect``.

    Raises:
        NatsUnavailable: No server answers, the server refuses the credentials, or it accepts too
            small messages only.
    """
    if credentials is not None:
        client.signer, token = credentials, credentials.token.encode()
        options |= {"user_jwt_cb": lambda: token, "signature_cb": client.last_signature}

    def failed(error: Exception | None) -> Attempt:
        is_anonymous = credentials is None and "@" not in url
        return Attempt(url, error, client.was_greeted, is_anonymous)

    try:
        # A client that reconnects for ever also tries its first connection for ever. The time
        # limit turns a wrong address into an error.
        connecting = client.connect(
            servers=url.split(","),
            connect_timeout=_CONNECT_TIMEOUT_S,
            reconnect_time_wait=_RECONNECT_WAIT_S,  # type: ignore[arg-type]
            max_reconnect_attempts=-1,
            ping_interval=_ping_interval_s(url),  # type: ignore[arg-type]
            skip_subject_validation=True,
            **options,
        )
        last_s = time.monotonic() + timeout_s + _ATTEMPT_S

        def has_no_cause() -> bool:
            return client.last_error is None and time.monotonic() < last_s

        await within(timeout_s, connecting, goes_on=has_no_cause)
    except (NatsError, OSError, TimeoutError) as error:
        await _close(client)
        # The last failed attempt names the cause; the time-out does not.
        attempt = failed(client.last_error or error)
        raise NatsUnavailable(attempt.text) from error
    if not client.is_connected:
        # nats-py does not notice that the server has closed the connection in its handshake.
        await _close(client)
        raise NatsUnavailable(failed(None).text)
    limit = client.max_payload
    if limit < LEAST_PAYLOAD_BYTES:
        await _close(client)
        raise NatsUnavailable(
            f"the NATS server accepts messages of {limit} bytes, and the platform sends larger "
            f"ones: set `max_payload` of nats-server to {LEAST_PAYLOAD_BYTES} or more"
        )


async def _close(client: FastPathClient) -> None:
    """Close a client that is not used."""
    # A client that could not parse its address cannot be closed. If its attempt was cancelled
    # while it waited for the socket to close, ``close`` ends as if it were cancelled as well.
    with contextlib.suppress(AssertionError, TimeoutError, NatsError):
        await within(_CLOSE_S, client.close())


def _ping_interval_s(url: str) -> float:
    """Return the interval of pings: they cost wake-ups, and one server has no other to go to."""
    return _CLUSTER_PING_INTERVAL_S if "," in url else _PING_INTERVAL_S

"""One connection to NATS: publish, request, serve. What nats-py gets wrong is put right here.

The connection is endless: it reconnects for ever, and what waited when it broke has been failed at
once. ``docs/architecture.md``, "NATS", lists the traps of nats-py that this module closes.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable

from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import Error as NatsError
from nats.errors import SlowConsumerError
from nats.js import JetStreamContext

from broker.client import HotClient
from broker.inbox import Inbox
from broker.parser import Taker
from broker.stream import Outgoing
from broker.streams import Streams
from model import codec, subjects
from model.errors import BodyTooLarge, DeadlineExceeded, InvalidEvent, NatsUnavailable

logger = logging.getLogger(__name__)

Handler = Callable[[bytes, str], Awaitable[None]]
"""Takes a message's payload and its reply subject (empty when none is wanted)."""

Callback = Callable[[], Awaitable[None]]

NO_RESPONDERS = "503"
_RECONNECT_WAIT_S = 0.1
_PING_INTERVAL_S = 20
_CONNECT_TIMEOUT_S = 2
_FIRST_CONNECT_S = 5
_JETSTREAM_TIMEOUT_S = 5
_FLUSH_S = 5
_REPEAT_S = 5


class Bus:
    """A process's connection to NATS. Made by ``connect``, which also closes it.

    Attributes:
        process_id: Unique name of the process.
        streams: Bodies on their way to this process, and from it.
        closed: Set when the connection is closed for good.
    """

    def __init__(self, client: HotClient, inbox: Inbox, process_id: str) -> None:
        """Wrap a client; see ``connect``."""
        client.barrier = self.flush
        self._client = client
        self._inbox = inbox
        self._on_disconnect: list[Callback] = []
        self._on_reconnect: list[Callback] = []
        self.process_id = process_id
        self.streams = Streams(process_id, self)
        inbox.on_late = self._refuse_late
        self.closed = asyncio.Event()

    @property
    def is_ready(self) -> bool:
        """Whether the connection is up at this moment."""
        return self._client.is_connected

    @property
    def in_flight(self) -> int:
        """How many requests of this process wait for a reply."""
        return len(self._inbox)

    @property
    def max_payload_bytes(self) -> int:
        """The largest frame that the server takes."""
        return self._client.max_payload

    def jetstream(self) -> JetStreamContext:
        """Return the JetStream client of this connection; for the stores of this package."""
        return self._client.jetstream(timeout=_JETSTREAM_TIMEOUT_S)

    def on_disconnect(self, callback: Callback) -> None:
        """Call ``callback`` each time the connection has gone down."""
        self._on_disconnect.append(callback)

    def on_reconnect(self, callback: Callback) -> None:
        """Call ``callback`` after each reconnect: what listens to JetStream must start anew."""
        self._on_reconnect.append(callback)

    async def publish(self, subject: str, payload: bytes, reply: str = "") -> None:
        """Send one message.

        Raises:
            BodyTooLarge: Over the server's limit. Sent all the same, it would close the connection.
            NatsUnavailable: Not connected. nats-py would keep it and send it after the
                reconnect, when nobody waits any more.
        """
        if self.send(subject, payload, reply):
            return
        client = self._client
        if len(payload) > client.max_payload:
            raise BodyTooLarge(
                f"message of {len(payload)} bytes is over the limit of {client.max_payload}"
            )
        if not client.is_connected:
            raise NatsUnavailable("the connection to NATS is down")
        try:
            await client.publish(subject, payload, reply)
        except NatsError as error:
            raise NatsUnavailable("the connection to NATS is down") from error

    def send(self, subject: str, payload: bytes, reply: str = "") -> bool:
        """Send one message without waiting, or return False: it takes ``publish``."""
        return self._client.send(subject, payload, reply)

    def call_later(self, callback: Callable[[], None]) -> None:
        """Call something once when all that is sent in this turn of the loop has been written."""
        self._client.call_later(callback)

    async def request(
        self, subject: str, payload: bytes, timeout_s: float, body: Outgoing | None = None
    ) -> bytes:
        """Send one message and return its reply.

        Args:
            subject: Where to.
            payload: The frame.
            timeout_s: How long the reply may take.
            body: Sent as a stream meanwhile: the time begins when it is over.

        Raises:
            BodyTooLarge: Over the server's limit.
            NatsUnavailable: The connection is, or went, down.
            NoPodReady: Nobody subscribes to ``subject``.
            ComponentGone: The last subscriber died with the request in hand.
            DeadlineExceeded: ``timeout_s`` passed.
        """
        inbox = self._inbox
        reply = inbox.open(subject, timeout_s)
        if body is not None:
            inbox.follow(reply, body, timeout_s)
        if not self._client.send(subject, payload, reply):
            try:
                await self.publish(subject, payload, reply)
            except BaseException:
                inbox.forget(reply)
                raise
        return await inbox.wait(reply)

    async def gather(self, subject: str, payload: bytes, wait_s: float) -> list[bytes]:
        """Send one message to many and return the replies that came within ``wait_s``.

        Nobody listening is an empty list, at once.
        """
        replies: list[Msg] = []
        with contextlib.suppress(TimeoutError):
            await self._collect(subject, payload, wait_s, replies, _says_no_responders)
        return [each.data for each in replies if not _says_no_responders(each)]

    async def request_many(self, subject: str, payload: bytes, timeout_s: float) -> list[Msg]:
        """Send one message and return its replies, up to and with the one that has a status.

        So JetStream answers a direct get of a batch: messages with their headers, then an end.

        Raises:
            NatsUnavailable: The connection is down.
            TimeoutError: ``timeout_s`` passed without an end.
        """
        replies: list[Msg] = []
        await self._collect(subject, payload, timeout_s, replies, status_of)
        return replies

    async def _collect(
        self,
        subject: str,
        payload: bytes,
        wait_s: float,
        replies: list[Msg],
        is_end: Callable[[Msg], object],
    ) -> None:
        """Send one message and add its replies, up to and with the end; TimeoutError without."""
        ended = asyncio.Event()

        async def collect(message: Msg) -> None:
            replies.append(message)
            if is_end(message):
                ended.set()

        subscription = await self.listen(collect)
        try:
            await self.publish(subject, payload, subscription.subject)
            # Not ``wait_for``: on Python 3.11 it can lose a cancellation.
            async with asyncio.timeout(wait_s):
                await ended.wait()
        finally:
            await subscription.unsubscribe()

    async def listen(self, receive: Callable[[Msg], Awaitable[None]]) -> Subscription:
        """Hand every message on a new subject of this process's own to ``receive``, in turn.

        Returns:
            The subscription, whose ``subject`` it is.
        """
        return await self._client.subscribe(self._client.new_inbox(), cb=receive)

    async def serve(self, subject: str, handler: Handler, queue: str = "") -> Subscription:
        """Hand every message on ``subject`` to ``handler``, one after another.

        nats-py runs one subscription's callbacks in turn: a handler that waits must pass its
        work to a task of its own. Whatever it raises is logged.

        Returns:
            The subscription, for ``stop_serving``.
        """

        async def receive(message: Msg) -> None:
            try:
                await handler(message.data, message.reply)
            except Exception:
                logger.exception("message on %s could not be handled", subject)

        return await self._client.subscribe(subject, queue, cb=receive, pending_bytes_limit=-1)

    async def take(self, subject: str, taker: Taker, queue: str = "") -> Subscription:
        """Hand every message on ``subject`` to ``taker`` the moment it is read.

        Whatever it raises is logged. As it never waits, nothing queues here.

        Returns:
            The subscription, for ``stop_serving``.
        """

        def take(on: str, payload: bytes, reply: str) -> None:
            try:
                taker(on, payload, reply)
            except Exception:
                logger.exception("message on %s could not be taken", subject)

        return await self._client.subscribe_taker(subject, take, queue)

    async def stop_serving(self, subscription: Subscription) -> None:
        """Take no new message; what had arrived has been handed over when this returns."""
        with contextlib.suppress(NatsError):
            await subscription.drain()
        self._client.drop_taker(subscription)

    async def flush(self) -> None:
        """Return when the server has processed all that was sent, or the connection is down.

        A message to oneself comes back after it: the server takes one connection's commands in
        order.
        """
        inbox = self._inbox
        reply = inbox.open(inbox.prefix, _FLUSH_S)
        with contextlib.suppress(NatsUnavailable, DeadlineExceeded):
            try:
                await self.publish(reply, b"")
            except BaseException:
                inbox.forget(reply)
                raise
            await inbox.wait(reply)

    async def start(self) -> None:
        """Listen for replies, for streams and for pods that died; ``connect`` calls this once."""
        client = self._client
        replies = await client.subscribe(f"{self._inbox.prefix}*", cb=self._receive_reply)
        client.add_taker(replies, self._inbox.deliver)
        streams = await client.subscribe(
            f"{self.streams.prefix}*", cb=self._receive_frame, pending_bytes_limit=-1
        )
        client.add_taker(streams, self.streams.take)
        await self._client.subscribe(subjects.PODS_GONE, cb=self._receive_pod_gone)

    async def _receive_reply(self, message: Msg) -> None:
        if _says_no_responders(message):
            self._inbox.refuse(message.subject)
        else:
            self._inbox.deliver(message.subject, message.data)

    def _refuse_late(self, frame: bytes) -> None:
        """Tell who sends the body of a late answer that nobody is going to read it."""
        with contextlib.suppress(InvalidEvent):
            head, _ = codec.decode_response(frame)
            if head.stream:
                self.streams.receive(head.stream).close()

    async def _receive_frame(self, message: Msg) -> None:
        if _says_no_responders(message):
            self.streams.refuse(message.subject)
        else:
            self.streams.take(message.subject, message.data, message.reply)

    async def _receive_pod_gone(self, message: Msg) -> None:
        subject = message.data.decode()
        self._inbox.fail_subject(subject)
        self.streams.fail_subject(subject)

    async def disconnected(self) -> None:
        """Fail what waits for a reply and all streams, and tell who follows; nats-py calls this."""
        self._inbox.fail_all()
        self.streams.fail_all()
        for callback in self._on_disconnect:
            await callback()

    async def reconnected(self) -> None:
        """Tell whoever has to start anew; nats-py calls this."""
        logger.info("connected to NATS again")
        for callback in self._on_reconnect:
            await callback()


@contextlib.asynccontextmanager
async def connect(url: str, *, process_id: str) -> AsyncIterator[Bus]:
    """Connect to NATS and stay connected until the context ends; then flush and close.

    Args:
        url: ``nats://[user:password@]host:port``, several separated by commas.
        process_id: Unique name of this process, shown by NATS.

    Raises:
        NatsUnavailable: No server answers, or it refuses the credentials.
    """
    client = HotClient()
    inbox = Inbox(process_id)
    bus = Bus(client, inbox, process_id)

    async def closed() -> None:
        inbox.fail_all()
        bus.streams.fail_all()
        bus.closed.set()

    try:
        # A client that reconnects for ever also tries its first connection for ever: the
        # time limit makes a wrong address an error now.
        async with asyncio.timeout(_FIRST_CONNECT_S):
            await client.connect(
                servers=url.split(","),
                name=process_id,
                inbox_prefix=f"inbox.{process_id}-many",
                connect_timeout=_CONNECT_TIMEOUT_S,
                reconnect_time_wait=_RECONNECT_WAIT_S,  # type: ignore[arg-type]
                max_reconnect_attempts=-1,
                ping_interval=_PING_INTERVAL_S,
                error_cb=_reporter(),
                disconnected_cb=bus.disconnected,
                reconnected_cb=bus.reconnected,
                closed_cb=closed,
                skip_subject_validation=True,
            )
    except (NatsError, OSError, TimeoutError) as error:
        # An address that nats-py cannot read leaves a client that cannot be closed.
        with contextlib.suppress(AssertionError):
            await client.close()
        # The time-out says little, the last attempt before it tells why.
        reason = client.last_error or error
        raise NatsUnavailable(f"no NATS at {_without_password(url)}: {reason}") from error
    try:
        await bus.start()
        yield bus
    finally:
        await bus.flush()
        # With the server away, nats-py writes what is pending to a socket that is closed.
        with contextlib.suppress(RuntimeError):
            await client.close()


def status_of(message: Msg) -> str:
    """Return what the server itself says by a message, such as ``503``; empty for data."""
    return (message.headers or {}).get("Status", "")


def _says_no_responders(message: Msg) -> bool:
    return status_of(message) == NO_RESPONDERS


def _reporter() -> Callable[[Exception], Awaitable[None]]:
    """Return what logs errors, ten a second without a server: the same one only now and then."""
    said_at_s: dict[str, float] = {}

    async def report(error: Exception) -> None:
        text, level = f"NATS: {error or type(error).__name__}", logging.WARNING
        if isinstance(error, SlowConsumerError):
            text = f"messages on {error.subject} were lost: the receiver is too slow"
            level = logging.ERROR
        now_s = time.monotonic()
        for each in [each for each, at_s in said_at_s.items() if now_s - at_s >= _REPEAT_S]:
            del said_at_s[each]
        if text not in said_at_s:
            said_at_s[text] = now_s
            logger.log(level, "%s", text)

    return report


def _without_password(url: str) -> str:
    return ",".join(each.rpartition("@")[2] for each in url.split(","))

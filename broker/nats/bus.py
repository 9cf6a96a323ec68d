"""One connection to NATS: publish, request, serve.

The connection never ends by itself: it reconnects for ever, and requests that wait when it breaks
fail at once. ``docs/explanation/nats.md`` lists the traps of nats-py that this module closes.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from collections.abc import AsyncIterator, Awaitable, Callable

from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import Error as NatsError
from nats.js import JetStreamContext

from broker.nats.arrivals import Arrivals, not_a_reply_subject
from broker.nats.client import FastPathClient, connect_client
from broker.nats.cluster_jetstream import ClusterJetStream
from broker.nats.credentials.signer import Signer
from broker.nats.doubts import Doubts
from broker.nats.error_log import REPEAT_S, ErrorLog
from broker.nats.gone_pods import GonePods
from broker.nats.ignored_messages import MALFORMED, IgnoredMessages
from broker.nats.inbox import Inbox
from broker.nats.lost_connection import NotSent, Reconnecting
from broker.nats.lost_requests import LostRequests
from broker.nats.parser import MessageCallback, RawCallback
from broker.nats.status import server_status
from broker.streams.outgoing import OutgoingStream
from broker.streams.registry import StreamRegistry
from kubefox import printable, subjects
from kubefox.errors import (
    BodyTooLarge,
    DeadlineExceeded,
    InvalidEvent,
    NatsUnavailable,
    NotAuthorized,
)
from kubefox.senders import PLATFORM, Sender
from kubefox.subjects import REPLY

logger = logging.getLogger(__name__)

Handler = Callable[[bytes, str], Awaitable[None]]
"""Receives a message's payload and its reply subject (empty when no reply is expected)."""

Callback = Callable[[], Awaitable[None]]
_find_forbidden = re.compile(
    r'permissions violation for (publish|subscription) to "(.*?)"', re.IGNORECASE
).search

JETSTREAM_TIMEOUT_S = 5.0
FIRST_CONNECT_S = 5.0
_FLUSH_S = 5


class Bus:
    """A process's connection to NATS; made and closed by ``connect``.

    Attributes:
        process_id: Unique id of the process.
        streams: Streams that this process sends and receives.
        doubts: Finds out what became of requests whose connection was lost.
        follow_pods: Fails what is sent to a component version when its pod dies; to be called
            before, see ``GonePods.follow``.
        sender: The process, as the subjects of its messages name it.
        malformed: Counts and logs the messages that cannot be read.
        forbidden: Counts and logs what the server of NATS does not let this process do.
        forged: Counts and logs the messages of senders that claim to be others.
        makes_streams: Whether this process may make streams and buckets, as control may.
        closed: Set when the connection is closed for good.
        replicas: Copies that a cluster keeps of each stream; 0 for as many as it can, see
            ``broker.nats.replicas``.
    """

    def __init__(
        self,
        client: FastPathClient,
        inbox: Inbox,
        process_id: str,
        jetstream_timeout_s: float = JETSTREAM_TIMEOUT_S,
        sender: Sender = PLATFORM,
    ) -> None:
        self._jetstream_timeout_s = jetstream_timeout_s
        client.barrier = self.flush
        self._client = client
        self._inbox = inbox
        self._reconnecting = Reconnecting(lambda: client.is_connected)
        self._on_disconnect: list[Callback] = []
        self._on_reconnect: list[Callback] = []
        self.process_id = process_id
        self.sender = sender
        self.streams = StreamRegistry(process_id, self)
        self.malformed = IgnoredMessages("malformed")
        self.forged = IgnoredMessages("forged")
        self.forbidden = IgnoredMessages("forbidden")
        self.doubts = Doubts(self, inbox)
        self._lost_requests = LostRequests(self, inbox, self.doubts, sender)
        self._gone_pods = GonePods(
            self, inbox, self._lost_requests, self.streams, self.malformed, client.subscribe
        )
        self.follow_pods = self._gone_pods.follow
        self.makes_streams = True
        self._arrivals = Arrivals(client, inbox, self.streams, self.malformed)
        self.closed = asyncio.Event()
        self.replicas = 0

    @property
    def server_text(self) -> str:
        """Version and address of the server that this process is connected to, for people."""
        url = self._client.connected_url
        address = f"{url.hostname}:{url.port}" if url else "no server"
        version = self._client.connected_server_version
        return f"nats-server {version.major}.{version.minor}.{version.patch} at {address}"

    @property
    def is_ready(self) -> bool:
        """Whether the connection is up."""
        return self._client.is_connected

    @property
    def is_clustered(self) -> bool:
        """Whether there is more than one server to connect to."""
        return self._client.is_clustered

    async def wait_ready(self, timeout_s: float) -> bool:
        """Return whether there is a connection within ``timeout_s``."""
        return await self._reconnecting.wait_ready(timeout_s)

    @property
    def in_flight(self) -> int:
        """How many requests of this process wait for a reply."""
        return len(self._inbox)

    @property
    def max_payload_bytes(self) -> int:
        """The largest payload that the server accepts."""
        return self._client.max_payload

    @property
    def server(self) -> str:
        """Host and port of the server that the connection leads to; empty without one."""
        url = self._client.connected_url
        return f"{url.hostname}:{url.port}" if url is not None else ""

    def jetstream(self) -> JetStreamContext:
        """Return the JetStream client of this connection, for the stores of ``broker``."""
        return ClusterJetStream(self._client, self._jetstream_timeout_s, self._reconnecting)

    def on_disconnect(self, callback: Callback) -> None:
        """Call ``callback`` each time the connection has gone down."""
        self._on_disconnect.append(callback)

    def on_reconnect(self, callback: Callback) -> None:
        """Call ``callback`` after each reconnect; JetStream consumers must be made again then."""
        self._on_reconnect.append(callback)

    async def publish(
        self,
        subject: str,
        payload: bytes,
        reply: str = "",
        headers: dict[str, str] | None = None,
    ) -> None:
        """Send one message.

        Args:
            subject: Subject to send to.
            payload: The content.
            reply: Reply subject, or empty.
            headers: None for almost every message: they cost time at both ends.

        Raises:
            InvalidEvent: The subject is empty: it is the reply subject of a message without one.
                Or it is not valid, see ``_check_subject``.
            BodyTooLarge: The payload is over the server's limit; sending it would close the
                connection.
            NotSent: Not connected. nats-py would keep the message and send it after the
                reconnect, when its sender no longer waits.
        """
        _check_subject(subject)
        if headers is None and self.send(subject, payload, reply):
            return
        if not subject:
            raise InvalidEvent("the message has no reply subject")
        client = self._client
        if len(payload) > client.max_payload:
            raise BodyTooLarge(
                f"message of {len(payload)} bytes is over the limit of {client.max_payload}"
            )
        if not client.is_connected:
            raise NotSent("the connection to NATS is down")
        try:
            await client.publish(subject, payload, reply, headers)
        except NatsError as error:
            raise NotSent("the connection to NATS is down") from error

    def send(self, subject: str, payload: bytes, reply: str = "") -> bool:
        """Send one message without waiting; return False if only ``publish`` can send it.

        The subject is not checked: it must be one that NATS has delivered, such as a reply subject.
        """
        return self._client.send(subject, payload, reply)

    def post(self, subject: str, payload: bytes, reply: str = "") -> None:
        """Send one short message without waiting, also behind much that waits to be written.

        It is dropped only without a connection, or if it is over the server's limit. The subject is
        not checked, see ``send``.
        """
        self._client.post(subject, payload, reply)

    def call_after_write(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` once, after what is sent in this turn of the loop was written."""
        self._client.call_after_write(callback)

    async def request(
        self, subject: str, payload: bytes, timeout_s: float, body: OutgoingStream | None = None
    ) -> bytes:
        """Send one message and return its reply.

        Args:
            subject: Subject to send to.
            payload: The frame.
            timeout_s: How long the reply may take.
            body: Stream that carries the request's body; the time starts when it has ended.

        Raises:
            InvalidEvent: The subject is empty: it is the reply subject of a message without one.
                Or it is not valid, see ``_check_subject``.
            BodyTooLarge: The payload is over the server's limit.
            NotSent: The connection is down.
            ConnectionLost: The connection was lost during the request.
            NoPodReady: ``subject`` has no subscriber.
            ComponentGone: The last subscriber died during the request.
            DeadlineExceeded: ``timeout_s`` passed.
        """
        _check_subject(subject)
        inbox = self._inbox
        reply = inbox.open(subject, timeout_s)
        if body is not None:
            inbox.start_timeout_after(body, reply, timeout_s)
        if not self._client.send(subject, payload, reply):
            try:
                await self.publish(subject, payload, reply)
            except BaseException:
                inbox.forget(reply)
                raise
        return await inbox.wait(reply)

    async def gather(
        self,
        subject: str,
        payload: bytes,
        wait_s: float,
        *,
        is_last: Callable[[bytes], bool] | None = None,
    ) -> list[bytes]:
        """Send one message to all subscribers and return the replies that come within ``wait_s``.

        Without subscribers the list is empty, at once.

        Args:
            subject: Subject to send to.
            payload: The content.
            wait_s: How long to wait for replies.
            is_last: Called with each reply; true ends the waiting.

        Raises:
            NatsUnavailable: The connection is down.
        """
        with self._inbox.gather(is_last) as gathering:
            await self.publish(subject, payload, gathering.reply)
            with contextlib.suppress(TimeoutError):
                # Not ``wait_for``: on Python 3.11 it can lose a cancellation.
                async with asyncio.timeout(wait_s):
                    await gathering.ended.wait()
            return gathering.replies

    async def request_many(self, subject: str, payload: bytes, timeout_s: float) -> list[Msg]:
        """Send one message and return its replies; the last one is the first that has a status.

        JetStream answers a direct get of a batch that way: messages, then one with a status.

        Raises:
            NatsUnavailable: The connection is down.
            TimeoutError: No reply with a status came within ``timeout_s``.
        """
        replies: list[Msg] = []
        ended = asyncio.Event()

        async def collect(message: Msg) -> None:
            replies.append(message)
            if server_status(message):
                ended.set()

        subscription = await self.listen(collect)
        try:
            await self.publish(subject, payload, subscription.subject)
            async with asyncio.timeout(timeout_s):
                await ended.wait()
        finally:
            await subscription.unsubscribe()
        return replies

    async def listen(self, receive: Callable[[Msg], Awaitable[None]]) -> Subscription:
        """Subscribe to a new subject of this process; ``receive`` gets its messages in order.

        Returns:
            The subscription; its ``subject`` is the new subject.
        """
        return await self._client.subscribe(self._client.new_inbox(), cb=receive)

    async def listen_raw(self, receive: RawCallback) -> Subscription:
        """Subscribe to a new subject of this process; ``receive`` gets messages as they are read.

        Returns:
            The subscription, for ``stop_listening``; its ``subject`` is the new subject.
        """
        return await self._client.subscribe_raw(self._client.new_inbox(), receive)

    async def stop_listening(self, subscription: Subscription) -> None:
        """End a subscription at once; messages that arrive later are dropped."""
        self._client.remove_fast_path(subscription)
        with contextlib.suppress(NatsError):
            await subscription.unsubscribe()

    async def serve(self, subject: str, handler: Handler, queue: str = "") -> Subscription:
        """Pass every message on ``subject`` to ``handler``, one after another.

        nats-py runs the callbacks of a subscription one after another: a handler that waits must
        do its work in a task of its own. An exception it raises is logged. A message whose reply
        subject is not one of a process is ignored, see ``kubefox.subjects.REPLY``.

        Returns:
            The subscription, for ``stop_serving``.
        """

        async def receive(message: Msg) -> None:
            reply = message.reply
            if reply and not reply.startswith(REPLY):
                self.malformed.note(subject, not_a_reply_subject(reply))
                return
            try:
                await handler(message.data, reply)
            except MALFORMED as error:
                self.malformed.note(subject, error)
            except Exception:
                logger.exception("message on %s could not be handled", subject)

        return await self._client.subscribe_queued(subject, receive, queue)

    async def serve_fast_path(
        self, subject: str, callback: MessageCallback, queue: str = ""
    ) -> Subscription:
        """Pass every message on ``subject`` to ``callback`` as soon as it is read.

        The callback never waits, so no messages queue up here. An exception it raises is logged.
        A message whose reply subject is not one of a process is ignored, as by ``serve``.

        Returns:
            The subscription, for ``stop_serving``.
        """

        def receive(on: str, payload: bytes, reply: str) -> None:
            if reply and not reply.startswith(REPLY):
                self.malformed.note(subject, not_a_reply_subject(reply))
                return
            try:
                callback(on, payload, reply)
            except MALFORMED as error:
                self.malformed.note(subject, error)
            except Exception:
                logger.exception("message on %s could not be handled", subject)

        return await self._client.subscribe_fast_path(subject, receive, queue)

    async def serve_inbox(self, purpose: str, callback: MessageCallback) -> Subscription:
        """Pass the messages that JetStream sends to an inbox of this process to ``callback``.

        Args:
            purpose: See ``kubefox.subjects.inbox``.
            callback: Gets the messages as soon as they are read.

        Returns:
            The subscription, for ``stop_serving``.
        """
        inbox = subjects.inbox(self.process_id, purpose)
        return await self._client.subscribe_fast_path(f"{inbox}.*", callback)

    async def stop_serving(self, subscription: Subscription) -> None:
        """End a subscription; messages that have arrived are handled before this returns."""
        with contextlib.suppress(NatsError):
            await subscription.drain()
        self._client.remove_fast_path(subscription)

    async def flush(self) -> None:
        """Return when the server has processed everything that was sent, or the connection is down.

        This sends a message to its own inbox: the server processes the commands of a connection
        in order, so the message comes back after everything before it.
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

    async def is_answering(self, timeout_s: float) -> bool:
        """Return whether a message comes back from NATS within ``timeout_s``."""
        inbox = self._inbox
        reply = inbox.open(inbox.prefix, timeout_s)
        try:
            await self.publish(reply, b"")
            await inbox.wait(reply)
        except (NatsUnavailable, DeadlineExceeded):
            return False
        finally:
            inbox.forget(reply)
        return True

    async def start(self, *, follows_all_pods: bool) -> None:
        """Subscribe to replies, stream frames and died pods; ``connect`` calls this once."""
        await self._arrivals.start()
        if follows_all_pods:
            await self._gone_pods.follow_all()

    def note_forbidden(self, error: Exception) -> bool:
        """Note that the server refuses a message or a subscription, and fail its requests at once.

        Args:
            error: Of nats-py, which has turned the server's text into small letters.

        Returns:
            Whether the error is such a refusal.
        """
        found = _find_forbidden(str(error))
        if found is None:
            return False
        act, subject = found.groups()
        verb = "subscribe" if act == "subscription" else "publish"
        self.forbidden.note(subject, NotAuthorized(f"NATS does not let this process {verb} to it"))
        if verb == "publish":
            self._inbox.fail_forbidden(subject)
        return True

    async def disconnected(self) -> None:
        """Fail all requests and streams, then run the callbacks; nats-py calls this."""
        self._reconnecting.lose()
        self._arrivals.fail_all()
        for callback in self._on_disconnect:
            await callback()

    async def end(self) -> None:
        """Fail all requests and streams: the connection is closed for good; nats-py calls this."""
        self._arrivals.fail_all()
        self.closed.set()

    async def reconnected(self) -> None:
        """Run the callbacks of ``on_reconnect``; nats-py calls this."""
        logger.info("connected to NATS again")
        self._reconnecting.regain()
        if self.is_clustered:
            self._lost_requests.look_everywhere()
        for callback in self._on_reconnect:
            await callback()


def _check_subject(subject: str) -> None:
    """Check that a subject is one word: what follows a space or a line end would be a command.

    This takes 0.1 µs. A part of a subject may come from a message that anybody has sent.

    Raises:
        InvalidEvent: It is not.
    """
    if " " in subject or not subject.isprintable():
        shown = printable.shortened(repr(subject))
        raise InvalidEvent(f"subject {shown} is not valid: expected one word")


@contextlib.asynccontextmanager
async def connect(
    url: str,
    *,
    process_id: str,
    credentials: Signer | None = None,
    first_connect_s: float = FIRST_CONNECT_S,
    jetstream_timeout_s: float = JETSTREAM_TIMEOUT_S,
    repeat_error_s: float = REPEAT_S,
    follows_all_pods: bool = True,
    sender: Sender = PLATFORM,
) -> AsyncIterator[Bus]:
    """Connect to NATS and stay connected until the context ends; then flush and close.

    Args:
        url: ``nats://[user:password@]host:port``, several separated by commas.
        process_id: Unique id of this process; NATS shows it.
        credentials: Those of this process; None for a server that requires none, or takes them
            from the URL.
        first_connect_s: How long the first connection may take.
        jetstream_timeout_s: How long JetStream may take to answer a request.
        repeat_error_s: An equal connection error is logged again only after this time.
        follows_all_pods: Whether the death of any pod is noticed; else see ``Bus.follow_pods``.
        sender: Sender of its messages; a pod names its component version.

    Raises:
        NatsUnavailable: No server answers, the server refuses the credentials, or it accepts too
            small messages.
    """
    client = FastPathClient()
    inbox = Inbox(subjects.reply_prefix(process_id))
    bus = Bus(client, inbox, process_id, jetstream_timeout_s, sender)

    error_log = ErrorLog(repeat_error_s)

    async def report_error(error: Exception) -> None:
        if not bus.note_forbidden(error):
            await error_log.report(error)

    await connect_client(
        client,
        url,
        first_connect_s,
        credentials,
        name=process_id,
        inbox_prefix=subjects.inbox(process_id, "many"),
        error_cb=report_error,
        disconnected_cb=bus.disconnected,
        reconnected_cb=bus.reconnected,
        closed_cb=bus.end,
    )
    try:
        await bus.start(follows_all_pods=follows_all_pods)
        yield bus
    finally:
        bus.malformed.log()
        bus.forged.log()
        bus.forbidden.log()
        await bus.flush()
        # If the server is away, nats-py writes its pending commands to a closed socket.
        with contextlib.suppress(NatsError):
            await client.close()

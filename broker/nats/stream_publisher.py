"""Publishes messages to streams, and returns when JetStream has acknowledged them.

nats-py's own way costs 50 µs more for each message: it makes a subject and parses headers for each
answer. The answers come to an inbox to which no pod may publish.
"""

from __future__ import annotations

import asyncio

import msgspec
from nats.js import api

from broker.nats.bus import Bus
from broker.nats.cluster_jetstream import NO_LEADER, Attempts
from broker.nats.inbox import Inbox
from broker.nats.jetstream import no_answer_error
from broker.nats.lost_connection import NotSent
from broker.runtime.tokens import new_token
from kubefox import subjects
from kubefox.decoding import DECODE_ERRORS
from kubefox.errors import DeadlineExceeded, NatsUnavailable

# Below the inbox of all other answers of JetStream, which the process may subscribe to.
_PURPOSE = "many.api"
_MESSAGE_ID = api.Header.MSG_ID.value


class PublishError(msgspec.Struct, frozen=True):
    """Why JetStream has not stored a message.

    Attributes:
        code: HTTP status.
        err_code: Number of the error in nats-server.
        description: For people.
    """

    code: int
    err_code: int = 0
    description: str = ""


class Acknowledgement(msgspec.Struct, frozen=True):
    """JetStream's answer to a message for a stream.

    Attributes:
        duplicate: Whether an earlier message had the same id, so that this one is not stored.
        error: Why it is not stored; None if it is.
    """

    duplicate: bool = False
    error: PublishError | None = None


_decode = msgspec.json.Decoder(Acknowledgement).decode


class StreamPublisher:
    """Publishes the messages of one process to streams.

    Args:
        bus: Connection to use.
    """

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._inbox = Inbox(f"{subjects.inbox(bus.process_id, _PURPOSE)}.")
        self._starting = asyncio.Lock()
        self._is_started = False
        bus.on_disconnect(self._fail_all)

    async def publish(
        self, subject: str, payload: bytes, *, message_id: str = "", timeout_s: float
    ) -> Acknowledgement | None:
        """Publish a message, and return JetStream's answer; None if no stream has the subject.

        Args:
            subject: Subject of the message.
            payload: Its content.
            message_id: By which JetStream finds duplicates; empty looks for none.
            timeout_s: How long to wait for the answer. In a cluster, an attempt that has none
                within ``ATTEMPT_S`` is repeated, and stored once.

        Raises:
            BodyTooLarge: The payload is over the server's limit.
            NatsUnavailable: The connection is down, or NATS does not answer.
        """
        if not self._is_started:
            await self._start()
        if not self._bus.is_clustered:
            return await self._attempt(subject, payload, message_id, timeout_s)
        return await self._repeat(subject, payload, message_id, timeout_s)

    async def _repeat(
        self, subject: str, payload: bytes, message_id: str, timeout_s: float
    ) -> Acknowledgement | None:
        """Publish until a stream answers: one whose leader is gone seems not to exist."""
        attempts = Attempts(self._bus, timeout_s)
        found: Acknowledgement | None = None
        message_id = message_id or new_token()
        while await attempts.begin():
            try:
                found = await self._attempt(subject, payload, message_id, attempts.timeout_s)
            except NatsUnavailable as error:
                attempts.fail(error, may_be_done=not isinstance(error, NotSent))
                continue
            if found is None or (found.error and found.error.err_code in NO_LEADER):
                attempts.fail(NatsUnavailable(f"no stream has {subject}"))
                continue
            if found.duplicate and attempts.may_be_done:
                # The duplicate is the attempt that was not answered.
                return Acknowledgement()
            return found
        if attempts.may_be_done:
            raise attempts.error
        return found

    async def _attempt(
        self, subject: str, payload: bytes, message_id: str, timeout_s: float
    ) -> Acknowledgement | None:
        reply = self._inbox.open(subject, timeout_s)
        try:
            if message_id:
                headers = {_MESSAGE_ID: message_id}
                await self._bus.publish(subject, payload, reply, headers)
            elif not self._bus.send(subject, payload, reply):
                await self._bus.publish(subject, payload, reply)
        except BaseException:
            self._inbox.forget(reply)
            raise
        try:
            answer = await self._inbox.wait(reply)
            # NATS itself answers with an empty message if no stream has the subject.
            return _decode(answer) if answer else None
        except (DeadlineExceeded, *DECODE_ERRORS) as error:
            raise no_answer_error(f"publish to {subject}", writes=True) from error

    async def _start(self) -> None:
        async with self._starting:
            if not self._is_started:
                await self._bus.serve_inbox(_PURPOSE, self._inbox.deliver)
                self._is_started = True

    async def _fail_all(self) -> None:
        self._inbox.fail_all()

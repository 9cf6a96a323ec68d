"""The messages for one process: replies to its requests, and frames of its streams."""

from __future__ import annotations

import contextlib

from nats.aio.msg import Msg

from broker.nats.client import FastPathClient
from broker.nats.ignored_messages import IgnoredMessages
from broker.nats.inbox import Inbox
from broker.nats.status import is_no_responders
from broker.streams.registry import StreamRegistry
from kubefox import codec, subjects
from kubefox.errors import InvalidEvent
from kubefox.subjects import REPLY


class Arrivals:
    """Passes replies and frames to the requests and streams of one process.

    Args:
        client: The process's connection.
        inbox: Its requests.
        streams: Its streams.
        malformed: Counts the frames that cannot be accepted.
    """

    def __init__(
        self,
        client: FastPathClient,
        inbox: Inbox,
        streams: StreamRegistry,
        malformed: IgnoredMessages,
    ) -> None:
        self._client = client
        self._inbox = inbox
        self._streams = streams
        self._malformed = malformed
        inbox.on_late_reply = self._close_late_body
        inbox.on_abandoned = self._notify_abandoned
        inbox.on_asked = self._tell

    async def start(self) -> None:
        """Subscribe; called once."""
        client, inbox, streams = self._client, self._inbox, self._streams
        replies = await client.subscribe(f"{inbox.prefix}*", cb=self._receive_reply)
        client.add_fast_path(replies, inbox.deliver)
        frames = await client.subscribe(
            f"{streams.prefix}*", cb=self._receive_frame, pending_bytes_limit=-1
        )
        client.add_fast_path(frames, self._pass_frame)

    def fail_all(self) -> None:
        """Fail all requests and streams: the connection is lost."""
        self._inbox.fail_all()
        self._streams.fail_all()

    async def _receive_reply(self, message: Msg) -> None:
        if is_no_responders(message):
            self._inbox.fail_no_responders(message.subject)
        else:
            self._inbox.deliver(message.subject, message.data)

    def _close_late_body(self, frame: bytes) -> None:
        """Close the stream of a late response, so that its sender stops."""
        with contextlib.suppress(InvalidEvent):
            head, _ = codec.decode_response(frame)
            if head.stream:
                self._streams.open_incoming(head.stream).close()

    def _notify_abandoned(self, subject: str, reply: str) -> None:
        """Tell the pods of a component version that the sender of a request does not wait."""
        if subjects.is_component(subject):
            target = subjects.target_of_request(subject)
            self._client.post(subjects.gone(target), reply.encode(), "")

    def _tell(self, asked_by: str, answer: bytes) -> None:
        # A pod that gets no answer does not begin.
        self._client.post(asked_by, answer, "")

    async def _receive_frame(self, message: Msg) -> None:
        if is_no_responders(message):
            self._streams.fail_unreachable(message.subject)
        else:
            self._pass_frame(message.subject, message.data, message.reply)

    def _pass_frame(self, subject: str, frame: bytes, reply: str) -> None:
        if reply and not reply.startswith(REPLY):
            self._malformed.note(subject, not_a_reply_subject(reply))
        else:
            self._streams.receive_frame(subject, frame, reply)


def not_a_reply_subject(subject: str) -> InvalidEvent:
    """Return why a message is ignored whose reply subject is not one of a process."""
    return InvalidEvent(f"the reply subject {subject} does not begin with {REPLY}")

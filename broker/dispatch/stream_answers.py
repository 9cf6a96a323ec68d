"""Answers whose body is a stream: the head is the reply, and the body follows it in chunks."""

from __future__ import annotations

from collections.abc import Callable

from broker.dispatch.event_queue import EventQueue
from broker.dispatch.handling import Handling, Reply, with_length
from broker.dispatch.replies import Replies
from broker.nats.bus import Bus
from broker.streams.body_sender import StreamedBody, send_response_body, single_chunk
from broker.streams.outgoing import OPEN_TIMEOUT_S, OutgoingStream
from kubefox import codec, subjects
from kubefox.errors import Overloaded
from kubefox.event import Event, Headers, ResponseHead
from kubefox.refusal import Refusal


class StreamAnswers:
    """Sends the answers of one receiver that are streams.

    Args:
        bus: Connection to use.
        replies: Sends the heads.
        queue: Gives the places for streams.
        overload: Makes the error of an event that gets no place.
        source: Source of the responses; see ``ResponseHead.source``.
        responder: Number of this process; see ``ResponseHead.responder``.
        app: App of the receiver's component; empty if it serves no component.
    """

    def __init__(
        self,
        bus: Bus,
        replies: Replies,
        queue: EventQueue,
        overload: Callable[[Handling, Refusal], Overloaded],
        *,
        source: str,
        responder: int,
        app: str,
    ) -> None:
        self._bus = bus
        self._replies = replies
        self._queue = queue
        self._overload = overload
        self._source = source
        self._responder = responder
        self._app = app

    async def follow_sender(self, event: Event) -> None:
        """Break streams with the sender of an event when its pod dies."""
        if self._app and (sender := subjects.of_source(self._app, event.source)):
            await self._bus.follow_pods(sender)

    async def respond(self, handling: Handling, reply: Reply) -> None:
        """Send a head, and then the body as a stream; the deadline was that of the head.

        Raises:
            Overloaded: There is no place for a stream.
        """
        body, headers = reply.stream, reply.headers
        is_whole = body is None
        if body is None:
            body = StreamedBody(single_chunk(reply.body))
            headers = with_length(headers, len(reply.body))
        if not handling.reply_subject or handling.is_abandoned:
            await body.close()
            return
        # A whole body is sent in a moment, so it keeps the place of its event.
        if not (is_whole or self._queue.use_stream_place(handling)):
            await body.close()
            raise self._overload(handling, Refusal.STREAMS)
        await self.follow_sender(handling.event)
        outgoing = self._bus.streams.open_outgoing(open_timeout_s=OPEN_TIMEOUT_S)
        try:
            frame = codec.encode(self._head(reply.status, headers, outgoing))
        except BaseException as error:
            outgoing.abort()
            await body.close(error)
            raise
        await self._replies.respond(handling.reply_subject, frame)
        await self._queue.run(
            handling, send_response_body(body, outgoing, self._source, handling.event.id)
        )

    def _head(self, status: int, headers: Headers, outgoing: OutgoingStream) -> ResponseHead:
        return ResponseHead(
            status=status,
            headers=headers,
            source=self._source,
            stream=outgoing.subject,
            responder=self._responder,
        )

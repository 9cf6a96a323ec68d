"""The outbox as a pod uses it: a process that delivers events stores them.

The request is sent again if no process answers, because it died, or if none is there at the moment.
An event without a key may then be stored twice. With a key, JetStream recognises the second one.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus

from broker.events.outbox import MAX_EVENT_BYTES, STORE_S, too_large_error
from broker.nats.requester import Requester
from kubefox import codec, subjects
from kubefox.errors import (
    DeadlineExceeded,
    InvalidEvent,
    NatsUnavailable,
    NoPodReady,
    from_detail,
)
from kubefox.senders import Sender

ANSWER_S = STORE_S / 2
"""Time for one answer; JetStream takes less than a millisecond, unless its disk is busy."""
_PAUSE_S = 0.02
_MAX_PAUSE_S = 0.25


class RemoteOutbox:
    """Stores the events that one component version emits.

    Args:
        bus: Connection to use.
        sender: The component version.
        answer_s: See ``ANSWER_S``.
    """

    def __init__(self, bus: Requester, sender: Sender, *, answer_s: float = ANSWER_S) -> None:
        self._bus = bus
        self._sender = sender
        self._answer_s = answer_s

    async def store(self, target: str, frame: bytes, *, timeout_s: float = STORE_S) -> bool:
        """Store an event, and return once it is acknowledged.

        Args:
            target: The component version that is to handle it.
            frame: Frame of a ``kubefox.event.Event``; its ``delivery`` may have a key.
            timeout_s: How long to wait for the acknowledgement.

        Returns:
            True if the event was stored, False if it is a duplicate.

        Raises:
            BodyTooLarge: Head and body are over the limit.
            Overloaded: The stream is full.
            NatsUnavailable: No process stores events; or none has answered, and the event may or
                may not be stored.
            FoxError: The event is refused.
        """
        if len(frame) > MAX_EVENT_BYTES:
            raise too_large_error(len(frame))
        answer = await self._request(subjects.outbox(target, self._sender), frame, timeout_s)
        try:
            head, _ = codec.decode_response(answer)
        except InvalidEvent as error:
            raise NatsUnavailable("the event may not be stored: the answer is not valid") from error
        if head.error is not None:
            raise from_detail(head.error)
        return head.status == HTTPStatus.CREATED

    async def _request(self, subject: str, frame: bytes, timeout_s: float) -> bytes:
        """Send an event until there is an answer, and return the answer."""
        loop = asyncio.get_running_loop()
        end_s = loop.time() + min(timeout_s, STORE_S)
        pause_s = _PAUSE_S
        while True:
            left_s = end_s - loop.time()
            try:
                return await self._bus.request(subject, frame, min(left_s, self._answer_s))
            except DeadlineExceeded as error:
                if loop.time() + self._answer_s / 2 > end_s:
                    raise NatsUnavailable(
                        "the event may not be stored: no process that stores events answers"
                    ) from error
            except NoPodReady as error:
                if loop.time() + pause_s > end_s:
                    raise NatsUnavailable(
                        "the event was not stored: no process stores events. Start the emit "
                        "adapter with `fox up` or `fox serve adapters`"
                    ) from error
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, _MAX_PAUSE_S)

"""Answer senders that find no pod of a component version: start an idle one, wait for a restart.

A sender sends a request on ``pods.wake.…`` (``broker.dispatch.activation``). Only the reconciler
that leads serves that subject. A sender whose connection was lost asks it for the pods that may
have its events (``broker.dispatch.recovery``).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator

import msgspec

from broker.nats.bus import Bus
from broker.nats.wake_requests import Wake, WakeReply, WakeRequest
from kubefox import subjects
from kubefox.decoding import DECODE_ERRORS
from kubefox.distill import Version
from kubefox.errors import InvalidEvent, NatsUnavailable, NotAuthorized
from pods.fleet import Fleet

logger = logging.getLogger(__name__)

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(WakeRequest).decode


class WakeResponder:
    """Answers the requests on ``pods.wake.…``; made by ``answer_wake_requests``.

    Args:
        bus: Connection to use.
        fleet: The pods to start and to wait for.
    """

    def __init__(self, bus: Bus, fleet: Fleet) -> None:
        self._bus = bus
        self._fleet = fleet
        self._answering: set[asyncio.Task[None]] = set()
        self._is_finished = False

    def accept(self, subject: str, payload: bytes, reply: str) -> None:
        """Accept a request and return at once; a ``MessageCallback``.

        Each request has a task of its own, which waits for the start of a pod. One that cannot be
        read, such as that of another version of the platform, is answered at once.

        Raises:
            InvalidEvent: The request has no reply subject.
        """
        if not reply:
            raise InvalidEvent("the request has no reply subject")
        try:
            request = _decode(payload)
            version = Version(*subjects.version_of(request.target))
        except (ValueError, *DECODE_ERRORS) as error:
            self._bus.malformed.note(subject, error)
            self._bus.post(reply, _encode(WakeReply(state=Wake.NOT_IDLE)))
            return
        sender = subjects.sender_of(subject)
        if sender.is_pod and (sender.app != version.app or request.hashes):
            fault = f"{sender.source} of app {sender.app} wakes versions that it does not call"
            self._bus.forged.note(subject, NotAuthorized(fault))
            self._bus.post(reply, _encode(WakeReply(state=Wake.NOT_IDLE)))
            return
        if request.names_pods:
            pods, since_us = self._fleet.pods_that_may_have_events(version)
            named = WakeReply(state=Wake.AWAKE, pods=tuple(pods), since_us=since_us)
            self._bus.post(reply, _encode(named))
            return
        task = asyncio.create_task(self._answer(version, request.hashes, reply))
        self._answering.add(task)
        task.add_done_callback(self._answering.discard)

    async def finish(self) -> None:
        """Answer all requests at once, so that their senders ask the next leader.

        The pods end, too: an answer of the fleet would be that no pod starts.
        """
        self._is_finished = True
        for task in self._answering:
            task.cancel()
        await asyncio.gather(*self._answering, return_exceptions=True)

    async def _answer(self, version: Version, hashes: frozenset[str], reply: str) -> None:
        state = Wake.NOT_IDLE
        try:
            if self._is_finished:
                state = Wake.WAKING
            else:
                state = await self._fleet.activate(version, hashes)
        except asyncio.CancelledError:
            state = Wake.WAKING
        except Exception:
            logger.exception("a component version cannot be activated")
        # A sender that gets no answer asks again, or fails as for a version that has failed.
        with contextlib.suppress(NatsUnavailable):
            await self._bus.publish(reply, _encode(WakeReply(state=state)))


@contextlib.asynccontextmanager
async def answer_wake_requests(bus: Bus, fleet: Fleet) -> AsyncIterator[None]:
    """Answer the requests on ``pods.wake.…`` for the length of the context."""
    responder = WakeResponder(bus, fleet)
    subscription = await bus.serve_fast_path(subjects.WAKES, responder.accept)
    try:
        yield
    finally:
        await responder.finish()
        await bus.stop_serving(subscription)
        # Some may have asked again before the server knew.
        await responder.finish()

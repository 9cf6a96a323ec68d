"""Answers the requests of pods for their views of contexts."""

from __future__ import annotations

import asyncio
import logging

import msgspec

from broker.dispatch.contexts import ContextData, Contexts
from broker.dispatch.views import ViewReply, ViewRequest
from broker.nats.bus import Bus
from kubefox import subjects
from kubefox.component import short
from kubefox.context import ComponentView, source_name
from kubefox.decoding import DECODE_ERRORS
from kubefox.errors import FoxError, InvalidEvent, NotAuthorized
from kubefox.senders import Sender

logger = logging.getLogger(__name__)

_decode = msgspec.msgpack.Decoder(ViewRequest).decode
_encode = msgspec.msgpack.Encoder().encode


class ViewResponder:
    """Answers requests for views.

    Args:
        bus: Connection to use.
        contexts: Opens the contexts.
    """

    def __init__(self, bus: Bus, contexts: Contexts) -> None:
        self._bus = bus
        self._contexts = contexts
        self._answering: set[asyncio.Task[None]] = set()

    def accept(self, subject: str, payload: bytes, reply_subject: str) -> None:
        """Accept a request and return at once; a ``MessageCallback``.

        What the snapshot holds is answered at once. Any other request has a task: the data of an
        old context is read from NATS, which must not delay other requests.
        """
        sender = subjects.sender_of(subject)
        if self._has_answered(sender, payload, reply_subject):
            return
        task = asyncio.create_task(self._answer(sender, payload, reply_subject))
        self._answering.add(task)
        task.add_done_callback(self._answering.discard)

    async def wait_idle(self) -> None:
        """Return when all accepted requests are answered."""
        await asyncio.gather(*self._answering)

    def _has_answered(self, sender: Sender, payload: bytes, reply_subject: str) -> bool:
        """Answer from memory and return True, or return False for any reason not to."""
        try:
            request = _decode(payload)
            data = self._contexts.open_from_memory(request.token)
            if data is None:
                return False
            reply = ViewReply(view=_view(data, sender))
        except (FoxError, *DECODE_ERRORS):
            return False
        return self._bus.send(reply_subject, _encode(reply))

    async def _answer(self, sender: Sender, payload: bytes, reply_subject: str) -> None:
        try:
            reply = await self._reply(sender, payload)
            if reply_subject:
                await self._bus.publish(reply_subject, _encode(reply))
        except Exception:
            logger.exception("a pod's request for a view could not be answered")

    async def _reply(self, sender: Sender, payload: bytes) -> ViewReply:
        try:
            request = _read(payload)
            data = await self._contexts.open(request.token)
            return ViewReply(view=_view(data, sender))
        except FoxError as error:
            if isinstance(error, NotAuthorized):
                self._bus.forged.note(subjects.VIEWS, error)
            elif isinstance(error.__cause__, DECODE_ERRORS):
                self._bus.malformed.note(subjects.VIEWS, error)
            return ViewReply(error=error.to_detail())


def _view(data: ContextData, sender: Sender) -> ComponentView:
    """Return the view of the pod that asks.

    Raises:
        NotAuthorized: The context is that of another app.
        ComponentMismatch: The pod's version is not part of the deployment.
    """
    component, _, digest = sender.source.partition("@")
    if sender.app != data.context.app:
        raise NotAuthorized(
            f"{sender.source} of app {sender.app} asks for a context of app {data.context.app}",
            hop=source_name(component, short(digest)),
        )
    return data.view(component, digest)


def _read(payload: bytes) -> ViewRequest:
    try:
        return _decode(payload)
    except DECODE_ERRORS as error:
        raise InvalidEvent(f"the request for a view cannot be decoded: {error}") from error

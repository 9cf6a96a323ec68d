"""A pod's views of the contexts it has met: asked for once, then one look-up an event."""

from __future__ import annotations

import asyncio
from functools import partial

import msgspec

from broker.telemetry.scope import Scope
from broker.telemetry.telemetry import Telemetry
from broker.views import ViewReply, ViewRequest
from fox.kit.context import Identity
from fox.kit.requester import Requester
from model import subjects
from model.context import ComponentView
from model.errors import NatsUnavailable, NoPodReady, from_detail

MAX_VIEWS = 4096
# Of the question alone: an event that has less time is cancelled by its receiver.
_ANSWER_S = 10

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(ViewReply).decode


class View(ComponentView, frozen=True, kw_only=True):
    """A ComponentView with its telemetry.

    Attributes:
        scope: Whom events of the context are for.
    """

    scope: Scope


class Views:
    """The cache of views by context token; a token never changes its meaning.

    Args:
        bus: Connection to ask brokers on.
        identity: Who asks.
        telemetry: Gives each view its scope.
        limit: Views kept; the one met first goes first.
    """

    def __init__(
        self,
        bus: Requester,
        identity: Identity,
        telemetry: Telemetry,
        limit: int = MAX_VIEWS,
    ) -> None:
        """Start without any view."""
        self._telemetry = telemetry
        self._bus = bus
        self._identity = identity
        self._limit = limit
        self._views: dict[str, View] = {}
        self._asked: dict[str, asyncio.Task[View]] = {}

    def get(self, token: str) -> View | None:
        """Return the view if it is known already."""
        return self._views.get(token)

    async def fetch(self, token: str) -> View:
        """Ask a broker; events that ask at the same time share one question.

        Raises:
            FoxError: The view is refused, or no broker answers.
        """
        task = self._asked.get(token)
        if task is None:
            task = self._asked[token] = asyncio.create_task(self._ask(token))
            task.add_done_callback(partial(self._answered, token))
        # Whoever asked first may be cancelled: the others still wait.
        return await asyncio.shield(task)

    def _answered(self, token: str, task: asyncio.Task[View]) -> None:
        del self._asked[token]
        if not task.cancelled():
            # Seen, even when everybody who asked is gone.
            task.exception()

    async def _ask(self, token: str) -> View:
        request = ViewRequest(token, self._identity.component, self._identity.hash)
        try:
            answer = await self._bus.request(subjects.VIEW, _encode(request), _ANSWER_S)
        except NoPodReady as error:
            raise NatsUnavailable("no broker answers for the event's context") from error
        reply = _decode(answer)
        if reply.error is not None:
            raise from_detail(reply.error)
        if reply.view is None:
            raise NatsUnavailable("a broker gave no answer for the event's context")
        identity = self._identity
        scope = self._telemetry.scope(identity.component, identity.hash, reply.view)
        view = View(**msgspec.structs.asdict(reply.view), scope=scope)
        if len(self._views) >= self._limit:
            del self._views[next(iter(self._views))]
        self._views[token] = view
        return view

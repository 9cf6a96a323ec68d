"""A pod's cache of component views: one query for each context, one look-up for each event."""

from __future__ import annotations

import asyncio
from contextvars import Context
from functools import partial
from operator import attrgetter
from typing import Any, TypeVar

import msgspec

from broker.dispatch.views import ViewReply, ViewRequest
from broker.nats.requester import Requester
from broker.telemetry.cache_figures import watch_contexts
from broker.telemetry.labels import TelemetryLabels
from broker.telemetry.metrics import Metrics
from broker.telemetry.telemetry import Telemetry
from fox.kit.variables import Identity
from kubefox import subjects
from kubefox.context import ComponentView
from kubefox.errors import DeadlineExceeded, NatsUnavailable, NoPodReady, from_detail
from kubefox.sized_cache import SizedCache

_Part = TypeVar("_Part")

CACHE_BYTES = 256 << 20
"""Default memory for views."""

VIEW_BYTES = 700
"""Estimate of what a view takes besides its token and the values that no other view has."""

# Bytes in memory for each byte of the encoded values: each name and value is an object.
_DECODED = 4
_MAX_SHARED = 1_024
_MAX_SHARED_BYTES = 512
# NATS chooses one of several brokers, and this one may die with the query. A broker that is alive
# takes about a millisecond, so the query is soon sent again. All attempts together limit the query
# only: an event with less time is cancelled by its receiver.
_QUERY_S = 10.0
_FIRST_ANSWER_S = 0.25
_MAX_ANSWER_S = 4.0
_PAUSE_S = 0.1

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(ViewReply).decode


class View(ComponentView, frozen=True, kw_only=True):
    """A ComponentView with its telemetry labels.

    Attributes:
        telemetry_labels: Labels of the metrics, spans and log lines of the context's events.
        size_bytes: Estimate of what the view takes in memory, with its token.
    """

    telemetry_labels: TelemetryLabels
    size_bytes: int


class Views:
    """The views of one component version, by context token; a token's view never changes.

    Args:
        bus: Connection to the brokers.
        identity: The component version.
        telemetry: Returns the labels of a view.
        max_bytes: Memory for the views; see ``SizedCache``.

    Attributes:
        cache: The views by token.
    """

    def __init__(
        self,
        bus: Requester,
        identity: Identity,
        telemetry: Telemetry,
        max_bytes: int = CACHE_BYTES,
    ) -> None:
        self._telemetry = telemetry
        self._bus = bus
        self._identity = identity
        self._subject = subjects.view(identity.sender)
        self.cache: SizedCache[str, View] = SizedCache(max_bytes, attrgetter("size_bytes"))
        self.get = self.cache.get
        self._shared: dict[bytes, Any] = {}
        self._queries: dict[str, asyncio.Task[View]] = {}

    def watch(self, metrics: Metrics) -> None:
        """Show the figures of the cache."""
        watch_contexts(metrics, self.cache)

    async def fetch(self, token: str) -> View:
        """Query a broker for the view; events that need it at the same time share the query.

        Raises:
            FoxError: The broker refuses the view, or no broker answers.
        """
        query = self._queries.get(token)
        if query is None:
            # Not in the context of one of the events that wait for it.
            query = asyncio.create_task(self._query(token), context=Context())
            self._queries[token] = query
            query.add_done_callback(partial(self._on_query_done, token))
        # The event that began the query may be cancelled: the others still wait for it.
        return await asyncio.shield(query)

    def _on_query_done(self, token: str, query: asyncio.Task[View]) -> None:
        del self._queries[token]
        if not query.cancelled():
            # Retrieve the exception even if all waiting events were cancelled.
            query.exception()

    async def _ask(self, query: bytes) -> bytes:
        """Return a broker's answer; without one in time, ask again.

        In a cluster of NATS servers, this process or all brokers may be on their way from one to
        another.
        """
        now_s = asyncio.get_running_loop().time
        end_s, answer_s = now_s() + _QUERY_S, _FIRST_ANSWER_S
        while True:
            left_s = end_s - now_s()
            try:
                return await self._bus.request(self._subject, query, min(left_s, answer_s))
            except DeadlineExceeded:
                if left_s <= answer_s:
                    raise
                answer_s = min(2 * answer_s, _MAX_ANSWER_S)
            except (NoPodReady, NatsUnavailable):
                if left_s <= 2 * _PAUSE_S:
                    raise
                await asyncio.sleep(_PAUSE_S)

    async def _query(self, token: str) -> View:
        try:
            reply = _decode(await self._ask(_encode(ViewRequest(token))))
        except (NoPodReady, DeadlineExceeded) as error:
            raise NatsUnavailable("no broker answers for the event's context") from error
        if reply.error is not None:
            raise from_detail(reply.error)
        if reply.view is None:
            raise NatsUnavailable("a broker answered without a view of the event's context")
        view = self._compact(token, reply.view)
        self.cache.put(token, view)
        return view

    def _compact(self, token: str, view: ComponentView) -> View:
        """Return the view; parts that equal those of earlier views are the same objects."""
        identity = self._identity
        values = _encode(view.vars)
        # A handler may change a list, which must not show in another context.
        has_list = any(isinstance(value, list) for value in view.vars.values())
        is_shared = len(values) <= _MAX_SHARED_BYTES and not has_list
        return View(
            app=identity.app,
            deployment=view.deployment,
            virtual_environment=view.virtual_environment,
            release=view.release,
            vars=self._share(values, view.vars) if is_shared else view.vars,
            missing_vars=self._share(_encode(sorted(view.missing_vars)), view.missing_vars),
            targets=self._share(b"targets" + _encode(view.targets), view.targets),
            callers=self._share(b"callers" + _encode(sorted(view.callers)), view.callers),
            telemetry_labels=self._telemetry.labels_of(identity.component, identity.hash, view),
            size_bytes=VIEW_BYTES + len(token) + _DECODED * len(values),
        )

    def _share(self, content: bytes, part: _Part) -> _Part:
        if len(self._shared) >= _MAX_SHARED:
            self._shared.clear()
        shared: _Part = self._shared.setdefault(content, part)
        return shared

"""The state store: a dependency that keeps a component's data, separated by virtual environment.

Each virtual environment has its own KV bucket, which the first write creates, and each app and
store has its own prefix of the keys. The data that an event can reach is determined by its sealed
context alone, never by the request.
"""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Self

from adapters.state_store.storage import KvStorage
from broker.dispatch.broker import Broker
from broker.dispatch.handling import Reply
from broker.dispatch.receiving import receive
from broker.nats.kv import KvBucket
from broker.runtime.settings import Settings
from broker.storage.state_buckets import bucket_of
from kubefox import subjects
from kubefox.codec import Body
from kubefox.context import adapter_source
from kubefox.event import Event
from kubefox.state_store import STATE_STORE, parse, perform


class StateStoreAdapter:
    """Serves ``adapter.state-store`` for every app; see ``kubefox.state_store`` for its requests.

    Args:
        broker: Checks the events and opens their contexts.
        settings: Of the process.
    """

    kind = STATE_STORE
    is_inbound = False

    def __init__(self, broker: Broker, settings: Settings) -> None:
        self._broker = broker
        self._settings = settings
        self._serving = AsyncExitStack()
        self._is_serving = False

    async def __aenter__(self) -> Self:
        """Start to accept requests."""
        subject = subjects.adapter(self.kind)
        source = adapter_source(self.kind)
        receiving = receive(
            self._broker.bus,
            subject,
            subjects.ADAPTERS_QUEUE,
            self.serve,
            source=source,
            responder=self._broker.telemetry.process,
        )
        receiver = await self._serving.enter_async_context(receiving)
        receiver.watch(self._broker.telemetry.metrics)
        self._is_serving = True
        return self

    async def __aexit__(self, *_exception: object) -> None:
        """Accept no more requests, and answer those in flight."""
        self._is_serving = False
        await self._serving.aclose()

    @property
    def is_ready(self) -> bool:
        """Whether requests are accepted and NATS is connected."""
        return self._is_serving and self._broker.bus.is_ready

    async def serve(self, event: Event, body: Body) -> Reply:
        """Answer one request.

        Raises:
            FoxError: The sender does not declare the state store, the request is invalid, a
                compare-and-set lost, or NATS does not answer.
        """
        context = (await self._broker.authorize(event, self.kind)).context
        source = adapter_source(self.kind)
        handling = self._broker.telemetry.adapter_telemetry(event, source, context)
        try:
            request = (event.method, event.path, event.query, event.headers, bytes(body))
            store, operation = parse(*request)
            bucket = KvBucket(self._broker.bus, bucket_of(context.virtual_environment))
            storage = KvStorage(bucket, context.app, store, event.id)
            reply = Reply(*await perform(operation, storage))
        except BaseException as error:
            handling.fail(error)
            raise
        return handling.complete(reply)

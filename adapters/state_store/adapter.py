"""The state store: a dependency that keeps a component's data, apart by virtual environment.

Each virtual environment has a KV bucket of its own, made by the first write, and each app and
store its own part of the keys. Whose data an event may touch is read from its sealed context
alone, never from the request.
"""

from __future__ import annotations

from contextlib import AsyncExitStack
from types import TracebackType
from typing import Self

from adapters.state_store.storage import KvStorage
from broker.broker import Broker
from broker.kv import KvBucket
from broker.receiver import Reply, receive
from broker.settings import Settings
from broker.state_buckets import bucket_of
from model import subjects
from model.codec import Body
from model.context import adapter_source
from model.event import Event
from model.state_store import STATE_STORE, parse, perform


class StateStoreAdapter:
    """Serves ``adapter.state-store`` for every app; see ``model.state_store`` for its requests.

    Args:
        broker: Says whose data an event is about.
        settings: Of the process.
    """

    kind = STATE_STORE
    is_inbound = False

    def __init__(self, broker: Broker, settings: Settings) -> None:
        """Prepare to serve; entering the context starts."""
        self._broker = broker
        self._settings = settings
        self._serving = AsyncExitStack()
        self._is_serving = False

    async def __aenter__(self) -> Self:
        """Take requests from now on."""
        subject = subjects.adapter(self.kind)
        source = adapter_source(self.kind)
        await self._serving.enter_async_context(
            receive(self._broker.bus, subject, subjects.ADAPTERS_QUEUE, self.serve, source=source)
        )
        self._is_serving = True
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Take no more requests, and answer those in hand."""
        self._is_serving = False
        await self._serving.aclose()

    @property
    def is_ready(self) -> bool:
        """Whether requests are taken and the data can be reached."""
        return self._is_serving and self._broker.bus.is_ready

    async def serve(self, event: Event, body: Body) -> Reply:
        """Answer one request.

        Raises:
            FoxError: The sender may not ask this, the request makes no sense, a compare-and-set
                lost, or NATS does not answer.
        """
        context = (await self._broker.authorize(event, self.kind)).context
        source = adapter_source(self.kind)
        handling = self._broker.telemetry.serving(event, source, context)
        try:
            asked = (event.method, event.path, event.query, event.headers, bytes(body))
            store, operation = parse(*asked)
            bucket = KvBucket(self._broker.bus, bucket_of(context.virtual_environment))
            storage = KvStorage(bucket, context.app, store)
            reply = Reply(*await perform(operation, storage))
        except BaseException as error:
            handling.fail(error)
            raise
        return handling.answer(reply)

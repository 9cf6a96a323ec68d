"""A component that calls adapters in one context."""

from __future__ import annotations

import time

import msgspec

from broker.dispatch.broker import Broker
from broker.runtime.ids import new_id
from fox.kit.response import Response
from kubefox import codec, subjects
from kubefox.context import app_of, source_name
from kubefox.errors import from_detail
from kubefox.event import Event, EventType, Headers
from tests.support.data_plane import SETTINGS, digest
from tests.support.senders import sent_by


class ComponentInContext:
    """Calls adapters as a component does in one context; see ``fox.kit.state_store.Caller``."""

    def __init__(self, broker: Broker, token: str, *, component: str = "api") -> None:
        self._broker = broker
        self._app = app_of(token)
        self._event = Event(
            id="test-1",
            genesis_id="test-1",
            type=EventType.COMPONENT,
            context=token,
            source=source_name(component, digest("v1")),
            deadline_ms=0,
        )

    async def request(
        self,
        dependency: str,
        method: str,
        path: str,
        *,
        query: str = "",
        headers: Headers = (),
        body: bytes = b"",
    ) -> Response:
        event = msgspec.structs.replace(
            self._event,
            id=new_id(),
            deadline_ms=int((time.time() + SETTINGS.event_ttl_s) * 1000),
            method=method,
            path=path,
            query=query,
            headers=headers,
        )
        frame = await self._broker.bus.request(
            sent_by(event.source, subjects.adapter(dependency), self._app),
            codec.encode(event, body),
            SETTINGS.event_ttl_s,
        )
        head, content = codec.decode_response(frame)
        if head.error is not None:
            raise from_detail(head.error)
        if head.stream:
            with self._broker.bus.streams.open_incoming(head.stream) as incoming:
                content = b"".join([chunk async for chunk in incoming])
        return Response.from_wire(head, content)

"""Test a component as a plain object: no NATS, no network, no pod.

Example:
    >>> client = TestClient(kit, name="order-ui", env={"subPath": "dev"}, dependencies={
    ...     "api-server": api_kit,
    ... })
    >>> response = await client.get("/dev/orders?q=1")
    >>> assert response.status == 200
"""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Iterator, Mapping
from typing import Any, TypedDict, Unpack
from urllib.parse import urlencode

import msgspec

from broker.pour import Upload, once
from fox.kit.context import FORM
from fox.kit.in_memory import HASH, EmittedEvent, InMemoryDeployment
from fox.kit.kit import Handler, Kit
from fox.kit.response import JSON, Response
from fox.kit.state_store import InMemoryStateStore
from model import codec
from model.component import ComponentDefinition, Dependency, Value
from model.context import EventContext, adapter_source, source_name
from model.errors import InvalidContext, RouteNotFound
from model.event import NO_ROUTE, Event, EventType, Headers
from model.stream import INLINE_BYTES
from routing.facts import Facts
from routing.matcher import ComponentRoutes, compile_table
from routing.request import GenesisRequest
from routing.selectors import extract

TTL_S = 30
CALLER = "test-client"
"""The component of which ``TestClient.call`` seems to come."""


class Sent(TypedDict, total=False):
    """What a request carries.

    Attributes:
        headers: Names in any case; ``host`` is what ``Host`` in a rule looks at.
        json: Sent as JSON body.
        form: Sent as an HTML form.
        body: Sent as it is, when neither is given.
    """

    headers: Mapping[str, str]
    json: Any
    form: Mapping[str, str]
    body: bytes


class TestClient:
    """One component in a test, and those that it calls.

    Whatever a handler raises is raised here: a FoxError as it would travel, any other exception as
    it is. In a pod the latter becomes ComponentFailed. A body that is made while it is sent is put
    together: it must have an end.

    What handlers emit is delivered, once and in order, when the one that was asked has ended; also
    if it has failed, as on a platform. ``emitted`` lists it.

    Args:
        kit: The component.
        name: Its name.
        env: Variables of the virtual environment, for all components; each sees those it declares.
        dependencies: Other components, by name: a Kit, or a function in place of one, which is
            called with a Context and returns what a handler may. They call each other by
            these names too.
        app: Name of the app.
        deployment: Name of the deployment.
        virtual_environment: Name of the virtual environment.
        release: Id of the release; empty means that the deployment was named explicitly.

    Raises:
        InvalidContext: ``env`` lacks what a component or a rule requires; all of it is named.
    """

    # pytest takes whatever is called Test… for a test class.
    __test__ = False

    def __init__(
        self,
        kit: Kit,
        *,
        name: str = "component",
        env: Mapping[str, Value] | None = None,
        dependencies: Mapping[str, Kit | Handler] | None = None,
        app: str = "app",
        deployment: str = "test",
        virtual_environment: str = "test",
        release: str = "",
    ) -> None:
        """Put the component into a deployment of its own."""
        values = dict(env or {})
        kits = {each: _to_kit(other) for each, other in (dependencies or {}).items()}
        kits[name] = kit
        definition = kit.definition(name)
        self._name = name
        self._table = compile_table([ComponentRoutes(name, definition.routes)], [values])
        problems = [*_missing(kits, values), *(each.message for each in self._table.problems)]
        if problems:
            raise InvalidContext("env is not enough: " + "; ".join(problems))
        context = EventContext(app, deployment, virtual_environment, release)
        caller = ComponentDefinition(name=CALLER, dependencies=(Dependency(name=name),))
        self._deployment = InMemoryDeployment(context, kits, (caller,), values)
        self._event_ids = itertools.count(1)

    @property
    def state_store(self) -> InMemoryStateStore:
        """What the components keep: ``await orders.get("1", ctx=client.state_store)``."""
        return self._deployment.state_store

    @property
    def emitted(self) -> list[EmittedEvent]:
        """What the components have emitted, in order; an event of a known key is not there."""
        return self._deployment.emitted

    async def get(self, path: str, **sent: Unpack[Sent]) -> Response:
        """Send GET from outside; see ``request``."""
        return await self.request("GET", path, **sent)

    async def post(self, path: str, **sent: Unpack[Sent]) -> Response:
        """Send POST from outside; see ``request``."""
        return await self.request("POST", path, **sent)

    async def put(self, path: str, **sent: Unpack[Sent]) -> Response:
        """Send PUT from outside; see ``request``."""
        return await self.request("PUT", path, **sent)

    async def delete(self, path: str, **sent: Unpack[Sent]) -> Response:
        """Send DELETE from outside; see ``request``."""
        return await self.request("DELETE", path, **sent)

    async def request(self, method: str, path: str, **sent: Unpack[Sent]) -> Response:
        """Send a request from outside, as the HTTP adapter does, to the route that accepts it.

        Args:
            method: HTTP method.
            path: Percent-encoded path, with the query; selectors are taken out.
            sent: See ``Sent``.

        Raises:
            RouteNotFound: No route accepts it; tells why each one refuses.
            Exception: Whatever the handler raises.
        """
        headers, body = _encoded(**sent)
        path, _, query = path.partition("?")
        _, query, headers = extract(query, headers)
        host = dict(headers).get("host", "")
        request = GenesisRequest(host=host, method=method, path=path, query=query, headers=headers)
        route_id, params = self._match(request)
        return await self._send(
            EventType.HTTP,
            adapter_source("http"),
            handler=route_id,
            method=method,
            path=path,
            query=query,
            headers=headers,
            params=params,
            body=body,
        )

    async def call(
        self, method: str, path: str, *, attempt: int = 1, **sent: Unpack[Sent]
    ) -> Response:
        """Call the default handler, as another component does.

        Args:
            method: HTTP method.
            path: Percent-encoded path, with the query.
            attempt: What ``ctx.attempt`` says, for an emitted event that is delivered again.
            sent: See ``Sent``.

        Raises:
            RouteNotFound: The component has no default handler.
            Exception: Whatever the handler raises.
        """
        headers, body = _encoded(**sent)
        path, _, query = path.partition("?")
        return await self._send(
            EventType.COMPONENT,
            source_name(CALLER, HASH),
            method=method,
            path=path,
            query=query,
            headers=headers,
            body=body,
            attempt=attempt,
        )

    async def tick(self, schedule: int = 0) -> Response:
        """Let a schedule's time come, as the cron adapter does.

        Args:
            schedule: Which one, counted from 0 in the order of their declaration.

        Raises:
            RouteNotFound: The component has no such schedule.
            Exception: Whatever the handler raises.
        """
        return await self._send(EventType.CRON, adapter_source("cron"), handler=schedule)

    def _match(self, request: GenesisRequest) -> tuple[int, dict[str, str]]:
        facts = Facts(request)
        match = self._table.match(facts)
        if match is None:
            raise RouteNotFound(
                f"no route of {self._name} accepts {request.method} {request.path}: "
                + ("; ".join(self._refusals(facts)) or "it has none")
            )
        return match[0].route.id, dict(match[1])

    def _refusals(self, facts: Facts) -> Iterator[str]:
        for each in self._table.routes:
            yield f"{each.route.rule} is refused by {each.predicate.refusal(facts)}"

    async def _send(
        self,
        kind: str,
        source: str,
        *,
        handler: int = NO_ROUTE,
        method: str = "GET",
        path: str = "/",
        query: str = "",
        headers: Headers = (),
        params: dict[str, str] | None = None,
        body: bytes = b"",
        attempt: int = 1,
    ) -> Response:
        event_id = f"test-{next(self._event_ids)}"
        event = Event(
            id=event_id,
            genesis_id=event_id,
            type=kind,
            context="test",
            source=source,
            deadline_ms=int((time.time() + TTL_S) * 1000),
            handler=handler,
            method=method,
            path=path,
            query=query,
            headers=headers,
            params=params or {},
            attempt=attempt,
        )
        subject = self._deployment.subject(self._name)
        async with contextlib.AsyncExitStack() as stack:
            upload = None
            if len(body) > INLINE_BYTES:
                sending = Upload(self._deployment.streams, once(body), subject)
                upload = await stack.enter_async_context(sending)
                event, body = msgspec.structs.replace(event, stream=upload.subject), b""
            try:
                frame = await self._deployment.request(subject, codec.encode(event, body), TTL_S)
                head, content = codec.decode_response(frame)
                if head.stream:
                    incoming = self._deployment.streams.receive(head.stream)
                    with incoming:
                        content = b"".join([each async for each in incoming])
            finally:
                await self._deployment.deliver_emitted()
            return Response.from_wire(head, content)


def _to_kit(component: Kit | Handler) -> Kit:
    if isinstance(component, Kit):
        return component
    kit = Kit()
    kit.default(component)
    return kit


def _missing(kits: Mapping[str, Kit], values: Mapping[str, Value]) -> Iterator[str]:
    for name, kit in kits.items():
        for each in kit.definition(name).variables:
            if each.is_required and each.name not in values:
                yield f"{name} requires variable {each.name}"


def _encoded(
    headers: Mapping[str, str] | None = None,
    json: Any = None,
    form: Mapping[str, str] | None = None,
    body: bytes = b"",
) -> tuple[Headers, bytes]:
    pairs = [(name.lower(), value) for name, value in (headers or {}).items()]
    media = ""
    if json is not None:
        body, media = msgspec.json.encode(json), JSON
    elif form is not None:
        body, media = urlencode(form).encode(), FORM
    if media and "content-type" not in dict(pairs):
        pairs.append(("content-type", media))
    return tuple(pairs), body

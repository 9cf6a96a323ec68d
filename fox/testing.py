"""Unit tests of components: no NATS, no network, no pod.

``load_kit`` imports a component from an app's folder, and ``TestClient`` sends requests to it.

Example:
    >>> from fox.testing import TestClient, load_kit
    >>> kit = load_kit(Path("shop"), "order-ui", "main.py")
    >>> client = TestClient(kit, name="order-ui", env={"subPath": "dev"})
    >>> response = await client.get("/dev/orders?q=1")
    >>> assert response.status == 200
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator, Mapping
from typing import Any, TypedDict, Unpack
from urllib.parse import urlencode

import msgspec

from broker.runtime.platform_clock import clock
from broker.streams.body_sender import BodySender, single_chunk
from fox.kit.context import FORM
from fox.kit.in_memory import HASH, EmittedEvent, InMemoryDeployment
from fox.kit.kit import Handler, Kit
from fox.kit.loader import load_kit
from fox.kit.private_import import private_import
from fox.kit.response import JSON, Response
from fox.kit.state_store import InMemoryStateStore
from kubefox import codec
from kubefox.component import ComponentDefinition, Dependency, Value
from kubefox.context import EventContext, adapter_source, source_name
from kubefox.errors import InvalidContext, RouteNotFound
from kubefox.event import NO_ROUTE, Event, EventType, Headers
from kubefox.stream import INLINE_BYTES

with private_import("routing"):
    from routing.language.facts import Facts
    from routing.request import GenesisRequest
    from routing.selectors import extract
    from routing.table.matcher import ComponentRoutes, compile_table

__all__ = ["EmittedEvent", "InMemoryStateStore", "RequestContent", "TestClient", "load_kit"]

TTL_S = 30
"""Default time to live of a request."""
CALLER = "test-client"
"""Name of the component that sends the requests of ``TestClient.call``."""


class RequestContent(TypedDict, total=False):
    """Keyword arguments for the headers and the body of a request.

    Attributes:
        headers: Headers; ``host`` is matched by ``Host`` in a rule.
        json: Value to send as JSON.
        form: Fields to send as an HTML form.
        body: Bytes to send, if there is no ``json`` and no ``form``.
    """

    headers: Mapping[str, str]
    json: Any
    form: Mapping[str, str]
    body: bytes


class TestClient:
    """A client of one component, and of the components that it calls, within the test process.

    The component runs without NATS, network and pod, but on the same code as in a pod. An error
    that a handler raises is raised by the client: a FoxError as the caller of the component would
    receive it, any other exception unchanged. In a pod the latter becomes ComponentFailed. A
    streamed response is returned with its whole body, so it must have an end.

    Emitted events are delivered once and in order when the requested handler has ended, also if it
    has failed, as in a deployment. ``emitted`` lists them.

    Args:
        kit: The component.
        name: Name of the component.
        env: Variables of the virtual environment. Each component sees those that it declares.
        dependencies: Other components, by name. Each is a Kit, or a handler in place of one. They
            call each other by these names too.
        app: Name of the app.
        deployment: Name of the deployment.
        virtual_environment: Name of the virtual environment.
        release: Id of the release; empty if requests name the deployment.
        ttl_s: Time to live of a request, in seconds. A handler that takes longer is cancelled, and
            the client raises DeadlineExceeded.

    Raises:
        InvalidContext: ``env`` lacks variables that components or rules require; the message names
            all of them.

    Example:
        >>> async def stand_in(ctx: Context) -> dict[str, str]:
        ...     return {"id": ctx.segments[-1]}
        >>> client = TestClient(
        ...     kit, name="order-ui", env={"subPath": "dev"}, dependencies={"api-server": stand_in}
        ... )
        >>> response = await client.get("/dev/orders/7")
        >>> assert response.json() == {"id": "7"}
    """

    # pytest collects classes whose names begin with Test.
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
        ttl_s: float = TTL_S,
    ) -> None:
        values = dict(env or {})
        kits = {other: _to_kit(component) for other, component in (dependencies or {}).items()}
        kits[name] = kit
        definition = kit.definition(name)
        self._name = name
        self._ttl_s = ttl_s
        self._table = compile_table([ComponentRoutes(name, definition.routes)], [values])
        problems = [*_missing(kits, values), *(problem.message for problem in self._table.problems)]
        if problems:
            raise InvalidContext("env lacks variables: " + "; ".join(problems))
        context = EventContext(app, deployment, virtual_environment, release)
        caller = ComponentDefinition(name=CALLER, dependencies=(Dependency(name=name),))
        self._deployment = InMemoryDeployment(context, kits, (caller,), values)
        self._event_ids = itertools.count(1)

    @property
    def state_store(self) -> InMemoryStateStore:
        """The components' data; ``await orders.get("1", ctx=client.state_store)`` reads it."""
        return self._deployment.state_store

    @property
    def emitted(self) -> list[EmittedEvent]:
        """The emitted events in order, without duplicates of a key."""
        return self._deployment.emitted

    async def get(self, path: str, **content: Unpack[RequestContent]) -> Response:
        """Send GET from outside; see ``request``."""
        return await self.request("GET", path, **content)

    async def post(self, path: str, **content: Unpack[RequestContent]) -> Response:
        """Send POST from outside; see ``request``."""
        return await self.request("POST", path, **content)

    async def put(self, path: str, **content: Unpack[RequestContent]) -> Response:
        """Send PUT from outside; see ``request``."""
        return await self.request("PUT", path, **content)

    async def delete(self, path: str, **content: Unpack[RequestContent]) -> Response:
        """Send DELETE from outside; see ``request``."""
        return await self.request("DELETE", path, **content)

    async def request(self, method: str, path: str, **content: Unpack[RequestContent]) -> Response:
        """Send a request from outside, as the HTTP adapter does, to the route that matches.

        Args:
            method: HTTP method.
            path: Percent-encoded path, with the query. Selectors such as ``kf-dep`` are removed.
            content: ``headers``, and ``json``, ``form`` or ``body``; see ``RequestContent``.

        Raises:
            RouteNotFound: No route matches; the message says for each route why.
            Exception: The handler raised it.
        """
        headers, body = _encoded(**content)
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
        self, method: str, path: str, *, attempt: int = 1, **content: Unpack[RequestContent]
    ) -> Response:
        """Send a request to the default handler, as another component does.

        Args:
            method: HTTP method.
            path: Percent-encoded path, with the query.
            attempt: Value of ``ctx.attempt``, to test the delivery of an emitted event.
            content: Headers and body; see ``request``.

        Raises:
            RouteNotFound: The component has no default handler.
            Exception: The handler raised it.
        """
        headers, body = _encoded(**content)
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
        """Run the handler of a schedule, as the cron adapter does.

        Args:
            schedule: Index of the schedule, from 0 in the order of declaration.

        Raises:
            RouteNotFound: The component has no such schedule.
            Exception: The handler raised it.
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
        for compiled in self._table.routes:
            yield f"{compiled.route.rule} fails on {compiled.predicate.refusal(facts)}"

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
            deadline_ms=int((clock.now_s() + self._ttl_s) * 1000),
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
                sending = BodySender(self._deployment.streams, single_chunk(body), subject)
                upload = await stack.enter_async_context(sending)
                event, body = msgspec.structs.replace(event, stream=upload.subject), b""
            try:
                frame = await self._deployment.request(
                    subject, codec.encode(event, body), self._ttl_s
                )
                head, content = codec.decode_response(frame)
                if head.stream:
                    incoming = self._deployment.streams.open_incoming(head.stream)
                    with incoming:
                        content = b"".join([chunk async for chunk in incoming])
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
        for variable in kit.definition(name).variables:
            if variable.is_required and variable.name not in values:
                yield f"{name} requires variable {variable.name}"


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

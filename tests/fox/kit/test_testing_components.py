"""In a unit test, components call each other as in a deployment, and failures reach the test."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from fox import Context, Kit, Response
from fox.kit.in_memory import HASH
from fox.testing import TTL_S, TestClient
from kubefox.errors import BodyTooLarge, ComponentFailed, DeadlineExceeded, NotDeclared
from kubefox.stream import INLINE_BYTES


def api_server() -> Kit:
    """Return a component that stores orders."""
    kit = Kit()
    orders = kit.state_store("orders")
    kit.env("currency", default="EUR")

    @kit.default
    async def serve(ctx: Context) -> Response | dict[str, Any]:
        if ctx.method == "POST":
            await orders.put(ctx.segments[-1], ctx.json(), ctx=ctx, revision=0)
            return Response(status=201)
        kept = await orders.list(ctx=ctx)
        return {"currency": ctx.env["currency"], "orders": [entry.json() for entry in kept]}

    return kit


async def test_components_call_each_other_and_store_data(kit: Kit) -> None:
    api = kit.component("api-server")

    @kit.route("Path(`/orders`)")
    async def orders(ctx: Context) -> dict[str, Any]:
        await api.post("/orders/1", ctx=ctx, json={"item": "tea"})
        response = await api.get("/orders", ctx=ctx)
        return {"by": response.source, **response.json()}

    client = TestClient(
        kit, name="ui", env={"currency": "CHF"}, dependencies={"api-server": api_server()}
    )

    response = await client.get("/orders")

    assert response.json() == {
        "by": f"api-server@{HASH}",
        "currency": "CHF",
        "orders": [{"item": "tea"}],
    }
    assert response.source == f"ui@{HASH}"


async def test_a_test_can_read_and_write_the_state_store() -> None:
    orders = Kit().state_store("orders")
    client = TestClient(api_server())

    await orders.put("1", {"item": "tea"}, ctx=client.state_store)
    await client.call("POST", "/orders/2", json={"item": "cup"})

    kept = await orders.list(ctx=client.state_store)
    assert [entry.json() for entry in kept] == [{"item": "tea"}, {"item": "cup"}]


async def test_a_function_can_replace_a_component(kit: Kit) -> None:
    api = kit.component("api-server")

    @kit.default
    async def ask(ctx: Context) -> dict[str, Any]:
        answer = await api.get("/orders/7", ctx=ctx, query={"full": "yes"})
        return {"status": answer.status, "answer": answer.json(), "by": answer.source}

    async def stand_in(ctx: Context) -> Response:
        return Response({"path": ctx.path, "full": ctx.query["full"]}, status=404)

    client = TestClient(kit, dependencies={"api-server": stand_in})

    assert (await client.call("GET", "/")).json() == {
        "status": 404,
        "answer": {"path": "/orders/7", "full": "yes"},
        "by": f"api-server@{HASH}",
    }


async def test_components_may_call_each_other_in_a_circle(kit: Kit) -> None:
    middle, last = Kit(), Kit()
    down, further, back = kit.component("b"), middle.component("c"), last.component("a")

    @kit.route("Path(`/`)")
    async def enter(ctx: Context) -> str:
        return "a" + (await down.get("/", ctx=ctx)).text

    @kit.default
    async def end(ctx: Context) -> str:
        return "a."

    @middle.default
    async def pass_on(ctx: Context) -> str:
        return "b" + (await further.get("/", ctx=ctx)).text

    @last.default
    async def turn(ctx: Context) -> str:
        return "c" + (await back.get("/", ctx=ctx)).text

    client = TestClient(kit, name="a", dependencies={"b": middle, "c": last})

    assert (await client.get("/")).text == "abca."


async def test_an_undeclared_component_cannot_be_called(kit: Kit) -> None:
    undeclared = Kit().component("api-server")

    @kit.default
    async def ask(ctx: Context) -> Response:
        return await undeclared.get("/", ctx=ctx)

    client = TestClient(kit, dependencies={"api-server": api_server()})

    with pytest.raises(NotDeclared, match="component does not declare api-server"):
        await client.call("GET", "/")


async def test_a_dependency_that_is_not_passed_is_missing_in_the_deployment(
    kit: Kit,
) -> None:
    api = kit.component("api-server")

    @kit.default
    async def ask(ctx: Context) -> Response:
        return await api.get("/", ctx=ctx)

    with pytest.raises(NotDeclared, match="deployment test has no such component"):
        await TestClient(kit).call("GET", "/")


async def test_an_exception_of_a_handler_is_raised_unchanged(kit: Kit) -> None:
    api = kit.component("api-server")

    @kit.default
    async def ask(ctx: Context) -> Response:
        return await api.get("/", ctx=ctx)

    async def broken(ctx: Context) -> None:
        raise ZeroDivisionError("of the author")

    async def failing(ctx: Context) -> None:
        raise ComponentFailed("as a pod tells it")

    async def late(ctx: Context) -> None:
        raise TimeoutError("of the author")

    for stand_in, kind in (
        (broken, ZeroDivisionError),
        (failing, ComponentFailed),
        (late, TimeoutError),
    ):
        client = TestClient(kit, dependencies={"api-server": stand_in})
        with pytest.raises(kind):
            await client.call("GET", "/")


async def test_a_handler_that_never_ends_is_cancelled_at_the_deadline(kit: Kit) -> None:
    @kit.default
    async def hang(ctx: Context) -> None:
        await asyncio.Event().wait()

    with pytest.raises(DeadlineExceeded, match="component@"):
        await TestClient(kit, ttl_s=0.05).call("GET", "/")


async def test_bodies_may_have_any_length(kit: Kit) -> None:
    api = Kit()
    upstream = kit.component("api")

    @api.default(streams_body=True)
    async def echo(ctx: Context) -> Response:
        return Response.stream(ctx.stream(), status=201)

    @kit.route("Path(`/whole`)")
    async def whole(ctx: Context) -> Any:
        answer = await upstream.post("/", ctx=ctx, body=ctx.body)
        return {"status": answer.status, "size": len(answer.body)}

    @kit.route("Path(`/stream`)")
    async def stream(ctx: Context) -> Any:
        async with upstream.stream("POST", "/", ctx=ctx, json={"a": 1}) as answer:
            return {"status": answer.status, "parts": [chunk.decode() async for chunk in answer]}

    client = TestClient(kit, dependencies={"api": api})
    wholes = await client.post("/whole", body=bytes(2_000_000))
    parts = await client.get("/stream")

    assert wholes.json() == {"status": 201, "size": 2_000_000}
    assert parts.json() == {"status": 201, "parts": ['{"a":1}']}


async def test_the_deadline_of_a_call_begins_when_the_streamed_body_has_ended(
    kit: Kit,
) -> None:
    async def moved(ctx: Context) -> bool:
        before_ms = ctx.deadline_ms
        await asyncio.sleep(0.05)
        return ctx.deadline_ms - before_ms > 25

    @kit.route("Path(`/whole`)")
    async def whole(ctx: Context) -> list[Any]:
        return [await moved(ctx), 0 < ctx.remaining_s <= TTL_S]

    @kit.route("Path(`/read`)", streams_body=True)
    async def read(ctx: Context) -> list[Any]:
        chunks = ctx.stream()
        await anext(chunks)
        during = await moved(ctx)
        async for _ in chunks:
            pass
        return [during, await moved(ctx), 0 < ctx.remaining_s <= TTL_S]

    @kit.route("Path(`/made`)")
    async def made(ctx: Context) -> Response:
        async def chunks() -> AsyncIterator[str]:
            yield str(await moved(ctx))

        return Response.stream(chunks())

    client, long = TestClient(kit), bytes(3 * INLINE_BYTES)

    assert (await client.post("/whole", body=b"short")).json() == [False, True]
    assert (await client.post("/whole", body=long)).json() == [False, True]
    assert (await client.post("/read", body=long)).json() == [True, False, True]
    assert (await client.get("/made")).text == "True"


async def test_a_streamed_response_cannot_be_the_result_of_a_handler(kit: Kit) -> None:
    upstream = kit.component("api")

    @kit.default
    async def pass_on(ctx: Context) -> Response:
        async with upstream.stream("GET", "/", ctx=ctx) as answer:
            return answer

    async def answer(ctx: Context) -> str:
        return "all of it"

    with pytest.raises(TypeError, match=r"pass its chunks on by Response\.stream"):
        await TestClient(kit, dependencies={"api": answer}).call("GET", "/")


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/echo?y=1", {}),
        ("/ž x", {}),
        ("echo", {}),
        ("/a#b", {}),
        ("/", {"X-A": 5}),
        ("/", {"X A": "5"}),
        ("/", {"X-A": "a\r\nB: c"}),
    ],
)
async def test_a_malformed_path_or_header_is_a_value_error(
    kit: Kit, path: str, headers: dict[str, Any]
) -> None:
    upstream = kit.component("api")

    @kit.default
    async def call(ctx: Context) -> Response:
        return await upstream.request("GET", path, ctx=ctx, headers=headers)

    with pytest.raises(ValueError, match=r"path|header"):
        await TestClient(kit, dependencies={"api": Kit()}).call("GET", "/")


async def test_a_buffered_body_over_the_limit_is_refused(kit: Kit) -> None:
    @kit.route("All()")
    async def answer(ctx: Context) -> None: ...

    with pytest.raises(BodyTooLarge):
        await TestClient(kit).post("/", body=bytes(5 * 1024 * 1024 + 1))


async def test_an_error_within_a_streamed_response_is_raised(kit: Kit) -> None:
    @kit.route("All()")
    async def answer(ctx: Context) -> Response:
        async def chunks() -> AsyncIterator[str]:
            yield "some"
            raise NotDeclared("not this one")

        return Response.stream(chunks())

    with pytest.raises(NotDeclared, match="not this one"):
        await TestClient(kit).get("/")

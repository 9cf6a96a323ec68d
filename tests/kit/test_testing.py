"""What a component's author can rely on in a unit test."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from fox import Context, Kit, Response
from fox.kit.context import Emission
from fox.kit.in_memory import HASH
from fox.kit.testing import TestClient
from model.errors import (
    BodyTooLarge,
    ComponentFailed,
    DeadlineExceeded,
    InvalidContext,
    InvalidRequest,
    NotDeclared,
    RouteNotFound,
)
from model.event import Event


@pytest.fixture
def kit() -> Kit:
    return Kit()


def api_server() -> Kit:
    """Return a component that keeps orders."""
    kit = Kit()
    orders = kit.state_store("orders")
    kit.env("currency", default="EUR")

    @kit.default
    async def serve(ctx: Context) -> Response | dict[str, Any]:
        if ctx.method == "POST":
            await orders.put(ctx.segments[-1], ctx.json(), ctx=ctx, revision=0)
            return Response(status=201)
        kept = await orders.list(ctx=ctx)
        return {"currency": ctx.env["currency"], "orders": [each.json() for each in kept]}

    return kit


async def test_a_request_reaches_the_route_that_accepts_it(kit: Kit) -> None:
    @kit.route("Path(`/{{.Vars.subPath}}/orders/{id}`) && Method(`GET`)")
    async def show(ctx: Context) -> dict[str, Any]:
        return {
            "id": ctx.params["id"],
            "q": ctx.query["q"],
            "agent": ctx.headers["User-Agent"],
            "source": ctx.source,
        }

    @kit.route("Path(`/{{.Vars.subPath}}/orders/{id}`) && Method(`DELETE`)")
    async def delete(ctx: Context) -> None: ...

    client = TestClient(kit, env={"subPath": "dev"})

    shown = await client.get("/dev/orders/7%2F8?q=a+b", headers={"User-Agent": "test"})
    deleted = await client.delete("/dev/orders/7")

    assert shown.json() == {"id": "7/8", "q": "a b", "agent": "test", "source": "adapter/http"}
    assert shown.source == f"component@{HASH}"
    assert (deleted.status, deleted.body) == (204, b"")


async def test_json_forms_and_bytes_arrive_as_what_they_are(kit: Kit) -> None:
    @kit.route("Path(`/echo`)")
    async def echo(ctx: Context) -> dict[str, Any]:
        media = ctx.headers.get("content-type", "")
        body = dict(ctx.form()) if "form" in media else ctx.text()
        return {"method": ctx.method, "media": media, "body": body}

    client = TestClient(kit)

    assert (await client.post("/echo", json={"a": 1})).json() == {
        "method": "POST",
        "media": "application/json",
        "body": '{"a":1}',
    }
    assert (await client.put("/echo", form={"a": "ä b"})).json() == {
        "method": "PUT",
        "media": "application/x-www-form-urlencoded",
        "body": {"a": "ä b"},
    }
    own = {"Content-Type": "text/csv"}
    assert (await client.post("/echo", body=b"1;2", headers=own)).json() == {
        "method": "POST",
        "media": "text/csv",
        "body": "1;2",
    }
    assert (await client.post("/echo", json=[], headers=own)).json()["media"] == "text/csv"


async def test_the_host_is_what_rules_look_at_and_selectors_are_taken_out(kit: Kit) -> None:
    @kit.route("Host(`shop.example`)")
    async def shop(ctx: Context) -> list[Any]:
        return [list(ctx.query.items()), sorted(ctx.headers)]

    client = TestClient(kit)

    response = await client.get(
        "/?a=1&kf-dep=v1&kf-ve=dev", headers={"Host": "shop.example:8080", "kf-sample": "1"}
    )

    assert response.json() == [[["a", "1"]], ["host"]]


async def test_a_request_that_no_route_accepts_tells_why_each_refuses(kit: Kit) -> None:
    @kit.route("Path(`/orders`) && Method(`GET`)")
    async def orders(ctx: Context) -> None: ...

    client = TestClient(kit, name="order-ui")

    with pytest.raises(RouteNotFound, match=r"order-ui accepts POST /orders: .* by Method\(`GET`"):
        await client.post("/orders")
    with pytest.raises(RouteNotFound, match="it has none"):
        await TestClient(Kit()).get("/")


async def test_all_that_the_environment_lacks_is_named_at_once() -> None:
    ui, api = Kit(), Kit()
    ui.env("greeting")
    ui.env("accent", default="red")
    api.env("currency")

    @ui.route("Path(`/{{.Vars.subPath}}`)")
    async def page(ctx: Context) -> None: ...

    with pytest.raises(InvalidContext) as caught:
        TestClient(ui, name="ui", dependencies={"api": api})

    for lacking in ("ui requires variable greeting", "api requires variable currency", "subPath"):
        assert lacking in caught.value.detail
    assert "accent" not in caught.value.detail


async def test_a_component_sees_only_the_variables_that_it_declares(kit: Kit) -> None:
    kit.env("greeting", default="Hello")

    @kit.default
    async def serve(ctx: Context) -> Any:
        return dict(ctx.env) if ctx.path == "/all" else ctx.env["secret"]

    client = TestClient(kit, env={"greeting": "Hi", "secret": "x"})

    assert (await client.call("GET", "/all")).json() == {"greeting": "Hi"}
    with pytest.raises(NotDeclared, match="secret"):
        await client.call("GET", "/")


async def test_what_a_handler_does_to_its_variables_stays_within_its_event(kit: Kit) -> None:
    kit.env("greeting", default="Hello")

    @kit.default
    async def serve(ctx: Context) -> str:
        ctx.env["greeting"] = f"{ctx.env['greeting']}!"
        return str(ctx.env["greeting"])

    client = TestClient(kit)

    assert [(await client.call("GET", "/")).text for _ in range(2)] == ["Hello!", "Hello!"]


async def test_a_call_goes_to_the_default_handler(kit: Kit) -> None:
    @kit.default
    async def serve(ctx: Context) -> list[Any]:
        return [ctx.type, ctx.method, ctx.segments, dict(ctx.query), ctx.json()]

    client = TestClient(kit)

    response = await client.call("PUT", "/orders/1?full=1", json={"a": 1})

    assert response.json() == ["component", "PUT", ["orders", "1"], {"full": "1"}, {"a": 1}]


async def test_a_tick_runs_its_schedule(kit: Kit) -> None:
    @kit.schedule("@every 1s")
    async def first(ctx: Context) -> str:
        return f"first {ctx.type} {ctx.source}"

    @kit.schedule("0 0 * * *")
    async def second(ctx: Context) -> str:
        return "second"

    client = TestClient(kit)

    assert (await client.tick()).text == "first cron adapter/cron"
    assert (await client.tick(schedule=1)).text == "second"
    with pytest.raises(RouteNotFound):
        await client.tick(schedule=2)


async def test_components_call_each_other_and_keep_what_they_keep(kit: Kit) -> None:
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


async def test_what_is_kept_can_be_put_and_looked_at_from_outside() -> None:
    orders = Kit().state_store("orders")
    client = TestClient(api_server())

    await orders.put("1", {"item": "tea"}, ctx=client.state_store)
    await client.call("POST", "/orders/2", json={"item": "cup"})

    kept = await orders.list(ctx=client.state_store)
    assert [each.json() for each in kept] == [{"item": "tea"}, {"item": "cup"}]


async def test_a_function_stands_in_for_a_component(kit: Kit) -> None:
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


async def test_components_may_call_in_a_circle_and_far_down(kit: Kit) -> None:
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


async def test_what_is_not_declared_cannot_be_called(kit: Kit) -> None:
    undeclared = Kit().component("api-server")

    @kit.default
    async def ask(ctx: Context) -> Response:
        return await undeclared.get("/", ctx=ctx)

    client = TestClient(kit, dependencies={"api-server": api_server()})

    with pytest.raises(NotDeclared, match="component does not declare api-server"):
        await client.call("GET", "/")


async def test_a_dependency_that_the_test_does_not_give_is_not_there(kit: Kit) -> None:
    api = kit.component("api-server")

    @kit.default
    async def ask(ctx: Context) -> Response:
        return await api.get("/", ctx=ctx)

    with pytest.raises(NotDeclared, match="deployment test has no such component"):
        await TestClient(kit).call("GET", "/")


async def test_an_exception_arrives_as_it_is(kit: Kit) -> None:
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


async def test_a_handler_that_never_ends_is_stopped_at_the_deadline(
    kit: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fox.kit.testing.TTL_S", 0.05)

    @kit.default
    async def hang(ctx: Context) -> None:
        await asyncio.Event().wait()

    with pytest.raises(DeadlineExceeded, match="component@"):
        await TestClient(kit).call("GET", "/")


async def test_the_context_is_the_one_asked_for(kit: Kit) -> None:
    @kit.default
    async def where(ctx: Context) -> list[Any]:
        return [ctx.app, ctx.deployment, ctx.virtual_environment, ctx.release, ctx.is_released]

    plain = TestClient(kit)
    released = TestClient(
        kit, app="shop", deployment="shop-v1", virtual_environment="team-a", release="r1"
    )

    assert (await plain.call("GET", "/")).json() == ["app", "test", "test", "", False]
    assert (await released.call("GET", "/")).json() == ["shop", "shop-v1", "team-a", "r1", True]


async def test_a_handler_that_traces_itself_needs_nothing_in_a_test(kit: Kit) -> None:
    @kit.route("All()")
    async def serve(ctx: Context) -> str:
        with ctx.span("price", items=3) as span:
            span.set_attribute("currency", "EUR")
        return "ok"

    assert (await TestClient(kit).get("/")).text == "ok"


def emitting() -> tuple[Kit, Kit, list[tuple[str, int]]]:
    """Return a component that emits to another one, that one, and what that handled."""
    shop, mail = Kit(), Kit()
    client = shop.component("mail")
    handled: list[tuple[str, int]] = []

    @shop.route("Path(`/order/{id}`)")
    async def order(ctx: Context) -> str:
        number = ctx.params["id"]
        is_new = await client.emit(
            f"/orders/{number}",
            ctx=ctx,
            json={"id": number},
            query={"a": "b c"},
            headers={"X-Kind": "order"},
            key=number,
        )
        assert not handled
        if number == "lost":
            raise ComponentFailed("after it has emitted")
        return "placed" if is_new else "known"

    @mail.default
    async def send(ctx: Context) -> Response:
        handled.append((ctx.path, ctx.attempt))
        return Response(status=404 if "unknown" in ctx.path else 200)

    return shop, mail, handled


async def test_what_is_emitted_is_delivered_when_the_handler_has_ended() -> None:
    shop, mail, handled = emitting()
    client = TestClient(shop, name="shop", dependencies={"mail": mail})

    answer = await client.get("/order/7")

    (event,) = client.emitted
    assert (answer.text, handled) == ("placed", [("/orders/7", 1)])
    assert (event.source, event.component, event.is_delivered) == ("shop", "mail", True)
    assert (event.method, event.path, event.query) == ("POST", "/orders/7", "a=b+c")
    assert event.json() == {"id": "7"}
    assert dict(event.headers) == {"x-kind": "order", "content-type": "application/json"}


async def test_what_is_emitted_by_a_handler_that_fails_is_delivered_too() -> None:
    shop, mail, handled = emitting()
    client = TestClient(shop, name="shop", dependencies={"mail": mail})

    with pytest.raises(ComponentFailed, match="after it has emitted"):
        await client.get("/order/lost")

    assert handled == [("/orders/lost", 1)]


async def test_a_key_that_was_emitted_before_is_the_same_event() -> None:
    shop, mail, handled = emitting()
    client = TestClient(shop, name="shop", dependencies={"mail": mail})

    first = await client.get("/order/7")
    handled.clear()
    second = await client.get("/order/7")

    assert (first.text, second.text, handled) == ("placed", "known", [])
    assert len(client.emitted) == 1


async def test_an_event_that_is_refused_is_not_delivered() -> None:
    shop, mail, _ = emitting()
    client = TestClient(shop, name="shop", dependencies={"mail": mail})

    await client.get("/order/unknown")

    assert [each.is_delivered for each in client.emitted] == [False]


async def test_what_a_handler_of_an_event_raises_is_raised(kit: Kit) -> None:
    mail = kit.component("mail")

    @kit.default
    async def emit(ctx: Context) -> None:
        await mail.emit("/", ctx=ctx)

    async def fail(ctx: Context) -> None:
        raise ValueError("no paper")

    client = TestClient(kit, dependencies={"mail": fail})

    with pytest.raises(ValueError, match="no paper"):
        await client.call("POST", "/")


async def test_an_event_may_be_tested_as_one_that_comes_again(kit: Kit) -> None:
    @kit.default
    async def handle(ctx: Context) -> dict[str, int]:
        return {"attempt": ctx.attempt}

    client = TestClient(kit)

    assert (await client.call("POST", "/")).json() == {"attempt": 1}
    assert (await client.call("POST", "/", attempt=3)).json() == {"attempt": 3}


async def test_events_are_emitted_to_declared_components_only(kit: Kit) -> None:
    kit.state_store("orders")

    @kit.default
    async def emit(ctx: Context) -> None:
        await ctx.emit(ctx.segments[0], Emission(method="POST", path="/"))

    client = TestClient(kit, dependencies={"mail": kit})

    with pytest.raises(NotDeclared):
        await client.call("POST", "/mail")
    with pytest.raises(InvalidRequest, match="is an adapter"):
        await client.call("POST", "/state-store")


async def test_nothing_is_emitted_after_the_deadline(
    kit: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    mail = kit.component("mail")

    @kit.default
    async def emit(ctx: Context) -> None:
        monkeypatch.setattr(Event, "remaining_s", lambda *_: 0.0)
        await mail.emit("/", ctx=ctx)

    client = TestClient(kit, dependencies={"mail": kit})

    with pytest.raises(DeadlineExceeded, match="before it was emitted to mail"):
        await client.call("POST", "/")
    assert client.emitted == []


async def test_bodies_of_any_length_come_and_go_in_a_test_too(kit: Kit) -> None:
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
            return {"status": answer.status, "parts": [each.decode() async for each in answer]}

    client = TestClient(kit, dependencies={"api": api})
    wholes = await client.post("/whole", body=bytes(2_000_000))
    parts = await client.get("/stream")

    assert wholes.json() == {"status": 201, "size": 2_000_000}
    assert parts.json() == {"status": 201, "parts": ['{"a":1}']}


async def test_a_whole_body_over_the_limit_is_refused_in_a_test_too(kit: Kit) -> None:
    @kit.route("All()")
    async def answer(ctx: Context) -> None: ...

    with pytest.raises(BodyTooLarge):
        await TestClient(kit).post("/", body=bytes(5 * 1024 * 1024 + 1))


async def test_a_stream_that_fails_in_mid_answer_fails_who_reads_it(kit: Kit) -> None:
    @kit.route("All()")
    async def answer(ctx: Context) -> Response:
        async def chunks() -> AsyncIterator[str]:
            yield "some"
            raise NotDeclared("not this one")

        return Response.stream(chunks())

    with pytest.raises(NotDeclared, match="not this one"):
        await TestClient(kit).get("/")

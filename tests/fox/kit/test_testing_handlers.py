"""In a unit test, a handler gets the request and the context as in a deployment."""

from __future__ import annotations

from typing import Any

import pytest

from fox import Context, Kit
from fox.kit.in_memory import HASH
from fox.testing import TestClient
from kubefox.errors import InvalidContext, NotDeclared, RouteNotFound


async def test_a_request_is_handled_by_the_route_that_accepts_it(kit: Kit) -> None:
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


async def test_json_forms_and_bytes_are_sent_with_their_content_type(kit: Kit) -> None:
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


async def test_the_host_header_is_matched_and_selectors_are_removed(kit: Kit) -> None:
    @kit.route("Host(`shop.example`)")
    async def shop(ctx: Context) -> list[Any]:
        return [list(ctx.query.items()), sorted(ctx.headers)]

    client = TestClient(kit)

    response = await client.get(
        "/?a=1&kf-dep=v1&kf-ve=dev", headers={"Host": "shop.example:8080", "kf-sample": "1"}
    )

    assert response.json() == [[["a", "1"]], ["host"]]


async def test_route_not_found_names_the_failed_predicate_of_each_route(kit: Kit) -> None:
    @kit.route("Path(`/orders`) && Method(`GET`)")
    async def orders(ctx: Context) -> None: ...

    client = TestClient(kit, name="order-ui")

    with pytest.raises(RouteNotFound, match=r"POST /orders: .* fails on Method\(`GET`"):
        await client.post("/orders")
    with pytest.raises(RouteNotFound, match="it has none"):
        await TestClient(Kit()).get("/")


async def test_all_missing_variables_are_named_at_once() -> None:
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


async def test_changes_of_env_do_not_affect_other_events(kit: Kit) -> None:
    kit.env("greeting", default="Hello")

    @kit.default
    async def serve(ctx: Context) -> str:
        ctx.env["greeting"] = f"{ctx.env['greeting']}!"
        return str(ctx.env["greeting"])

    client = TestClient(kit)

    assert [(await client.call("GET", "/")).text for _ in range(2)] == ["Hello!", "Hello!"]


async def test_a_call_is_handled_by_the_default_handler(kit: Kit) -> None:
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


async def test_the_context_has_the_given_names(kit: Kit) -> None:
    @kit.default
    async def where(ctx: Context) -> list[Any]:
        return [ctx.app, ctx.deployment, ctx.virtual_environment, ctx.release, ctx.is_released]

    plain = TestClient(kit)
    released = TestClient(
        kit, app="shop", deployment="shop-v1", virtual_environment="team-a", release="r1"
    )

    assert (await plain.call("GET", "/")).json() == ["app", "test", "test", "", False]
    assert (await released.call("GET", "/")).json() == ["shop", "shop-v1", "team-a", "r1", True]


async def test_spans_can_be_used_without_telemetry(kit: Kit) -> None:
    @kit.route("All()")
    async def serve(ctx: Context) -> str:
        with ctx.span("price", items=3) as span:
            span.set_attribute("currency", "EUR")
        return "ok"

    assert (await TestClient(kit).get("/")).text == "ok"

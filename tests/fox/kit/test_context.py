"""The context of an event in a handler."""

from __future__ import annotations

import json
import logging
import time
from typing import Any

import msgspec
import pytest

from fox import Context, Kit, Response
from fox.testing import TestClient
from kubefox.errors import InvalidEvent, UnsupportedContentType


class Order(msgspec.Struct):
    id: int


def client_of(handler: Any, **options: Any) -> TestClient:
    kit = Kit()
    kit.route("PathPrefix(`/shop/{kind}`)")(handler)
    return TestClient(kit, name="web", **options)


async def test_path_query_and_headers_are_decoded() -> None:
    async def look(ctx: Context) -> dict[str, Any]:
        return {
            "method": ctx.method,
            "path": ctx.path,
            "segments": ctx.segments,
            "params": dict(ctx.params),
            "suffix": ctx.path_suffix,
            "query": list(ctx.query.items()),
            "agent": ctx.headers["USER-AGENT"],
            "component": ctx.component,
            "hash": len(ctx.hash),
            "event": ctx.id == ctx.event.genesis_id,
        }

    client = client_of(look)

    response = await client.request(
        "PATCH", "/shop/a%20b//c%2Fd?x=1&x=%C3%A4&y=&z", headers={"User-Agent": "t"}
    )

    assert response.json() == {
        "method": "PATCH",
        "path": "/shop/a%20b//c%2Fd",
        "segments": ["shop", "a b", "c/d"],
        "params": {"kind": "a b", "path_suffix": response.json()["suffix"]},
        "suffix": response.json()["params"]["path_suffix"],
        "query": [["x", "1"], ["x", "ä"], ["y", ""], ["z", ""]],
        "agent": "t",
        "component": "web",
        "hash": 32,
        "event": True,
    }
    assert response.json()["suffix"].startswith("/")


async def test_a_body_is_read_as_bytes_text_json_or_a_form() -> None:
    async def look(ctx: Context) -> list[Any]:
        order = ctx.json(Order)
        return [len(ctx.body), ctx.text(), ctx.json(), order.id]

    async def form(ctx: Context) -> list[Any]:
        return list(ctx.form().items())

    looked = await client_of(look).post("/shop/a", json={"id": 7})
    filled = await client_of(form).post(
        "/shop/a",
        body=b"a=1&a=%C3%A4&b=",
        headers={"content-type": "Application/X-WWW-Form-Urlencoded; charset=utf-8"},
    )

    assert looked.json() == [8, '{"id":7}', {"id": 7}, 7]
    assert filled.json() == [["a", "1"], ["a", "ä"], ["b", ""]]


async def test_a_body_of_another_type_is_an_invalid_event() -> None:
    async def read(ctx: Context) -> Any:
        match ctx.query["as"]:
            case "text":
                return ctx.text()
            case "json":
                return ctx.json()
            case "order":
                return ctx.json(Order)
            case _:
                return dict(ctx.form())

    client = client_of(read)

    unreadable = (b"{", b"", b'"\xff"', b"[" * 100_000)
    for kind, body in (
        ("text", b"\xff"),
        *(("json", body) for body in unreadable),
        ("order", b"{}"),
    ):
        with pytest.raises(InvalidEvent, match="body"):
            await client.post(f"/shop/a?as={kind}", body=body)
    with pytest.raises(UnsupportedContentType, match="not application/json"):
        await client.post("/shop/a?as=form", json={})
    with pytest.raises(UnsupportedContentType, match="not none"):
        await client.post("/shop/a?as=form", body=b"a=1")


async def test_the_remaining_time_is_never_negative() -> None:
    left: list[float] = []

    async def look(ctx: Context) -> None:
        left.append(ctx.remaining_s)
        left.append(ctx.event.remaining_s(time.time() + 1_000))

    await client_of(look).get("/shop/a")

    assert 0 < left[0] <= 30
    assert left[1] == 0


async def test_log_lines_carry_fields(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)

    async def log(ctx: Context) -> None:
        ctx.log.debug("d", a=1)
        ctx.log.info("i", b=2)
        ctx.log.warning("w")
        ctx.log.error("e", c=[3])
        try:
            json.loads("{")
        except ValueError:
            ctx.log.exception("x", order=7)

    await client_of(log).get("/shop/a")

    own = [record for record in caplog.records if record.name == "component.web"]
    assert [(line.levelname, line.message, line.__dict__["fields"]) for line in own] == [
        ("DEBUG", "d", {"a": 1}),
        ("INFO", "i", {"b": 2}),
        ("WARNING", "w", {}),
        ("ERROR", "e", {"c": [3]}),
        ("ERROR", "x", {"order": 7}),
    ]
    assert own[-1].exc_info is not None


async def test_a_component_client_sends_method_query_headers_and_body() -> None:
    kit = Kit()
    api = kit.component("api")

    @kit.default
    async def call(ctx: Context) -> list[Any]:
        answers = [
            await api.get("/a", ctx=ctx, query={"q": "a b"}),
            await api.post("/a", ctx=ctx, json={"x": 1}),
            await api.put("/a", ctx=ctx, body=b"raw"),
            await api.delete("/a", ctx=ctx),
            await api.request("PATCH", "/a", ctx=ctx, headers={"X-A": "1"}, json=0),
            await api.request("PUT", "/a", ctx=ctx, headers={"Content-Type": "a/b"}, json=0),
        ]
        return [answer.json() for answer in answers]

    async def stand_in(ctx: Context) -> Response:
        return Response(
            [
                ctx.method,
                ctx.event.query,
                ctx.text(),
                ctx.headers.get("content-type"),
                ctx.headers.get("x-a"),
            ]
        )

    client = TestClient(kit, dependencies={"api": stand_in})

    assert (await client.call("GET", "/")).json() == [
        ["GET", "q=a+b", "", None, None],
        ["POST", "", '{"x":1}', "application/json", None],
        ["PUT", "", "raw", None, None],
        ["DELETE", "", "", None, None],
        ["PATCH", "", "0", "application/json", "1"],
        ["PUT", "", "0", "a/b", None],
    ]

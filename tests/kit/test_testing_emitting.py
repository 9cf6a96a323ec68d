"""In a unit test what is emitted is delivered when its handler has ended, and can be looked at."""

from __future__ import annotations

import pytest

from fox import Context, Kit, Response
from fox.kit.context import Emission
from fox.kit.testing import TestClient
from model.errors import ComponentFailed, DeadlineExceeded, InvalidRequest, NotDeclared
from model.event import Event
from model.stream import INLINE_BYTES


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
        monkeypatch.setattr(Context, "deadline_ms", 1)
        await mail.emit("/", ctx=ctx)

    client = TestClient(kit, dependencies={"mail": kit})

    with pytest.raises(DeadlineExceeded, match="before it was emitted to mail"):
        await client.call("POST", "/")
    assert client.emitted == []


async def test_an_event_is_emitted_after_a_body_that_took_longer_than_the_time_to_live(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shop, mail, handled = emitting()
    files = shop.component("mail")

    @shop.route("Path(`/files`)", streams_body=True)
    async def take(ctx: Context) -> None:
        async for _ in ctx.stream():
            pass
        monkeypatch.setattr(Event, "remaining_s", lambda *_: 0.0)
        await files.emit("/taken", ctx=ctx)
        monkeypatch.undo()

    client = TestClient(shop, name="shop", dependencies={"mail": mail})

    await client.post("/files", body=bytes(INLINE_BYTES + 1))

    assert handled == [("/taken", 1)]


async def test_an_answer_to_an_event_may_be_as_long_as_it_likes(kit: Kit) -> None:
    mail = kit.component("mail")

    @kit.route("Path(`/`)")
    async def emit(ctx: Context) -> None:
        await mail.emit("/", ctx=ctx)

    post = Kit()

    @post.default
    async def send(ctx: Context) -> bytes:
        return bytes(INLINE_BYTES + 1)

    client = TestClient(kit, dependencies={"mail": post})

    await client.get("/")

    assert [each.is_delivered for each in client.emitted] == [True]

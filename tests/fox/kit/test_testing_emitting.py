"""In a unit test, emitted events are delivered after the handler, and can be examined."""

from __future__ import annotations

import pytest

from fox import Context, Kit, Response
from fox.kit.outgoing import OutgoingRequest
from fox.testing import TestClient
from kubefox.errors import ComponentFailed, DeadlineExceeded, InvalidRequest, NotDeclared
from kubefox.event import Event
from kubefox.stream import INLINE_BYTES


def emitting() -> tuple[Kit, Kit, list[tuple[str, int]]]:
    """Return a component, another to which it emits, and the events that the other handled."""
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


async def test_emitted_events_are_delivered_when_the_handler_has_ended() -> None:
    shop, mail, handled = emitting()
    client = TestClient(shop, name="shop", dependencies={"mail": mail})

    answer = await client.get("/order/7")

    (event,) = client.emitted
    assert (answer.text, handled) == ("placed", [("/orders/7", 1)])
    assert (event.source, event.component, event.is_delivered) == ("shop", "mail", True)
    assert (event.method, event.path, event.query) == ("POST", "/orders/7", "a=b+c")
    assert event.json() == {"id": "7"}
    assert dict(event.headers) == {"x-kind": "order", "content-type": "application/json"}


async def test_events_emitted_by_a_failing_handler_are_delivered() -> None:
    shop, mail, handled = emitting()
    client = TestClient(shop, name="shop", dependencies={"mail": mail})

    with pytest.raises(ComponentFailed, match="after it has emitted"):
        await client.get("/order/lost")

    assert handled == [("/orders/lost", 1)]


async def test_a_second_event_with_the_same_key_is_not_stored() -> None:
    shop, mail, handled = emitting()
    client = TestClient(shop, name="shop", dependencies={"mail": mail})

    first = await client.get("/order/7")
    handled.clear()
    second = await client.get("/order/7")

    assert (first.text, second.text, handled) == ("placed", "known", [])
    assert len(client.emitted) == 1


async def test_a_refused_event_is_not_marked_as_delivered() -> None:
    shop, mail, _ = emitting()
    client = TestClient(shop, name="shop", dependencies={"mail": mail})

    await client.get("/order/unknown")

    assert [event.is_delivered for event in client.emitted] == [False]


async def test_an_exception_of_the_event_handler_is_raised(kit: Kit) -> None:
    mail = kit.component("mail")

    @kit.default
    async def emit(ctx: Context) -> None:
        await mail.emit("/", ctx=ctx)

    async def fail(ctx: Context) -> None:
        raise ValueError("no paper")

    client = TestClient(kit, dependencies={"mail": fail})

    with pytest.raises(ValueError, match="no paper"):
        await client.call("POST", "/")


async def test_a_redelivery_is_tested_by_its_attempt(kit: Kit) -> None:
    @kit.default
    async def handle(ctx: Context) -> dict[str, int]:
        return {"attempt": ctx.attempt}

    client = TestClient(kit)

    assert (await client.call("POST", "/")).json() == {"attempt": 1}
    assert (await client.call("POST", "/", attempt=3)).json() == {"attempt": 3}


async def test_events_are_emitted_only_to_declared_components(kit: Kit) -> None:
    kit.state_store("orders")

    @kit.default
    async def emit(ctx: Context) -> None:
        await ctx.emit(ctx.segments[0], OutgoingRequest(method="POST", path="/"))

    client = TestClient(kit, dependencies={"mail": kit})

    with pytest.raises(NotDeclared):
        await client.call("POST", "/mail")
    with pytest.raises(InvalidRequest, match="is an adapter"):
        await client.call("POST", "/state-store")


async def test_emitting_after_the_deadline_fails(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    mail = kit.component("mail")

    @kit.default
    async def emit(ctx: Context) -> None:
        monkeypatch.setattr(Context, "deadline_ms", 1)
        await mail.emit("/", ctx=ctx)

    client = TestClient(kit, dependencies={"mail": kit})

    with pytest.raises(DeadlineExceeded, match="before the event for mail was stored"):
        await client.call("POST", "/")
    assert client.emitted == []


async def test_an_event_can_be_emitted_after_a_body_that_took_longer_than_the_ttl(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shop, mail, handled = emitting()
    files = shop.component("mail")

    @shop.route("Path(`/files`)", streams_body=True)
    async def upload(ctx: Context) -> None:
        async for _ in ctx.stream():
            pass
        monkeypatch.setattr(Event, "remaining_s", lambda *_: 0.0)
        await files.emit("/taken", ctx=ctx)
        monkeypatch.undo()

    client = TestClient(shop, name="shop", dependencies={"mail": mail})

    await client.post("/files", body=bytes(INLINE_BYTES + 1))

    assert handled == [("/taken", 1)]


async def test_the_answer_to_an_emitted_event_may_have_any_length(kit: Kit) -> None:
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

    assert [event.is_delivered for event in client.emitted] == [True]


async def test_a_time_limit_and_a_delay_of_an_emitted_event_can_be_examined() -> None:
    shop, mail = Kit(), Kit()
    client = shop.component("mail")
    left_s: list[float] = []

    @shop.route("Path(`/`)")
    async def order(ctx: Context) -> None:
        await client.emit("/later", ctx=ctx, timeout_s=500, delay_s=3600)

    @mail.default(timeout_s=400)
    async def send(ctx: Context) -> None:
        left_s.append(ctx.remaining_s)

    test = TestClient(shop, name="shop", dependencies={"mail": mail})
    await test.get("/")

    (event,) = test.emitted
    assert (event.timeout_s, event.delay_s, event.is_delivered) == (500, 3600, True)
    assert 300 < left_s[0] <= 400


@pytest.mark.parametrize(
    ("timeout_s", "delay_s"), [(0, 0), (-1, 0), (3601, 0), (None, -1), (None, 8 * 86_400)]
)
async def test_a_time_limit_or_delay_out_of_its_range_is_refused(
    timeout_s: float | None, delay_s: float
) -> None:
    kit = Kit()
    client = kit.component("mail")

    @kit.route("Path(`/`)")
    async def order(ctx: Context) -> None:
        await client.emit("/later", ctx=ctx, timeout_s=timeout_s, delay_s=delay_s)

    with pytest.raises(ValueError, match=r"expected (above )?0"):
        await TestClient(kit, dependencies={"mail": Kit()}).get("/")

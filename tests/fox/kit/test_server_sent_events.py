"""The wire format of server-sent events."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from fox import Context, Kit, Response, ServerSentEvent
from fox.testing import TestClient


@pytest.mark.parametrize(
    ("event", "written"),
    [
        (ServerSentEvent(data="a"), b"data: a\n\n"),
        (ServerSentEvent(data="a\r\nb\rc\nd"), b"data: a\ndata: b\ndata: c\ndata: d\n\n"),
        (ServerSentEvent(data=""), b"data: \n\n"),
        (ServerSentEvent(data={"a": ["ä"]}), 'data: {"a":["ä"]}\n\n'.encode()),
        (ServerSentEvent(data="a", event="e", id="7"), b"event: e\nid: 7\ndata: a\n\n"),
        (ServerSentEvent(retry_ms=500), b"retry: 500\n\n"),
        (ServerSentEvent(comment="here\nand there"), b": here\n: and there\n\n"),
    ],
)
def test_an_event_is_encoded_in_the_wire_format(event: ServerSentEvent, written: bytes) -> None:
    assert event.encode() == written


@pytest.mark.parametrize(
    "event", [ServerSentEvent(event="a\nb"), ServerSentEvent(id="a\rb"), ServerSentEvent(id="\0")]
)
def test_a_type_or_id_of_several_lines_is_refused(event: ServerSentEvent) -> None:
    with pytest.raises(ValueError, match="one line"):
        event.encode()


async def test_text_and_json_become_events() -> None:
    kit = Kit()

    @kit.route("All()")
    async def answer(ctx: Context) -> Response:
        async def events() -> AsyncIterator[str | list[int]]:
            yield "a"
            yield [1]

        return Response.events(events(), headers={"x": "y"})

    response = await TestClient(kit).get("/")

    assert response.body == b"data: a\n\ndata: [1]\n\n"
    assert response.headers["content-type"] == "text/event-stream"
    assert response.headers["cache-control"] == "no-cache"
    assert response.headers["x"] == "y"

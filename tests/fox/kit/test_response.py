"""The results that a handler may return."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

import msgspec
import pytest

from broker.dispatch.handling import Reply
from fox import Response
from fox.kit.response import Content, to_reply
from kubefox.event import ResponseHead


class Order(msgspec.Struct):
    id: int


@pytest.mark.parametrize(
    ("result", "reply"),
    [
        (None, Reply(204)),
        ("ä", Reply(200, (("content-type", "text/plain; charset=utf-8"),), "ä".encode())),
        ("", Reply(200, (("content-type", "text/plain; charset=utf-8"),), b"")),
        (b"\x00", Reply(200, (("content-type", "application/octet-stream"),), b"\x00")),
        (bytearray(b"a"), Reply(200, (("content-type", "application/octet-stream"),), b"a")),
        (memoryview(b"a"), Reply(200, (("content-type", "application/octet-stream"),), b"a")),
        ({"a": 1}, Reply(200, (("content-type", "application/json"),), b'{"a":1}')),
        ([], Reply(200, (("content-type", "application/json"),), b"[]")),
        ([Order(7)], Reply(200, (("content-type", "application/json"),), b'[{"id":7}]')),
        (Response(status=404), Reply(404)),
        (Response.html("<p>"), Reply(200, (("content-type", "text/html; charset=utf-8"),), b"<p>")),
        (Response.redirect("/a"), Reply(303, (("location", "/a"),))),
    ],
)
def test_the_type_of_a_result_decides_its_content_type(
    result: Response | Content, reply: Reply
) -> None:
    assert to_reply(result) == reply


def test_a_given_content_type_takes_precedence() -> None:
    by_argument = Response("a;b", content_type="text/csv")
    by_header = Response("a;b", headers={"Content-Type": "text/csv", "X-B": "2"})

    assert by_argument.to_reply() == Reply(200, (("content-type", "text/csv"),), b"a;b")
    assert by_header.to_reply() == Reply(200, (("content-type", "text/csv"), ("x-b", "2")), b"a;b")


def test_header_names_can_be_sent_as_json() -> None:
    names = dict(Response(headers={"X-A": "1"}).headers)

    assert to_reply(names).body == b'{"x-a":"1"}'


async def test_a_generator_as_content_is_refused_with_the_ways_to_send_it() -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield b"a"

    with pytest.raises(TypeError, match=r"Response\.stream, .* Response\.events"):
        Response(chunks())  # type: ignore[arg-type]


def test_a_received_response_is_read_as_text_or_json() -> None:
    response = Response.from_wire(
        ResponseHead(status=200, headers=(("x", "1"), ("x", "2")), source="api@1"),
        memoryview(b'{"id":7}'),
    )

    assert response.json() == {"id": 7}
    assert response.json(Order) == Order(7)
    assert response.text == '{"id":7}'
    assert response.headers.getall("X") == ["1", "2"]
    assert response.source == "api@1"
    assert response.is_ok
    assert not Response(status=400).is_ok
    with pytest.raises(msgspec.ValidationError):
        response.json(list[int])


@pytest.mark.parametrize("status", [0, 99, 100, 101, 199, 600, -1, "200", None])
def test_a_status_that_cannot_end_a_request_is_refused(status: Any) -> None:
    with pytest.raises(ValueError, match="cannot end a request"):
        Response(status=status)


@pytest.mark.parametrize(
    "headers",
    [
        {"x": "a\r\nset-cookie: b"},
        {"x": "a\nb"},
        {"x": "\0"},
        {"x": 1},
        {"x": None},
        {"x y": "a"},
        {"x:": "a"},
        {"": "a"},
        {"ä": "a"},
        {"x\r\n": "a"},
    ],
)
def test_a_malformed_header_is_refused(headers: Mapping[str, Any]) -> None:
    with pytest.raises(ValueError, match="header"):
        Response(headers=headers)


@pytest.mark.parametrize("content", [object(), {"a": object()}, 1j])
def test_content_that_cannot_be_encoded_is_refused(content: Any) -> None:
    with pytest.raises(TypeError):
        Response(content)
    with pytest.raises(TypeError):
        to_reply(content)

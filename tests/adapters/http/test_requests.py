"""Requests on real sockets, and the events that components get for them."""

from __future__ import annotations

import pytest

from adapters.http import codec
from tests.adapters.http.raw import ask, connect


async def test_the_component_gets_method_target_headers_and_body_unchanged(echo: int) -> None:
    answer = await ask(
        echo,
        b"POST /a%2Fb//c%20d?x=%C3%A4&y=1+2&y HTTP/1.1\r\n"
        b"Host: shop.example:80\r\n"
        b"X-One: 1\r\nx-two: 2\r\nX-ONE: 3\r\nX-Text: \xc3\xa4\r\nX-Bytes: \xff\xfe\r\n"
        b"Content-Length: 4\r\n\r\nbody",
    )

    assert answer.status == 200
    assert answer.json() == {
        "method": "POST",
        "path": "/a%2Fb//c%20d",
        "query": "x=%C3%A4&y=1+2&y",
        "headers": [
            ["host", "shop.example:80"],
            ["x-one", "1"],
            ["x-two", "2"],
            ["x-one", "3"],
            ["x-text", "ä"],
            ["x-bytes", "ÿþ"],
            ["content-length", "4"],
        ],
        "body": "body",
    }


async def test_removing_selectors_keeps_the_order_of_query_and_cookies(echo: int) -> None:
    answer = await ask(
        echo,
        b"GET /?a=%31&kf-dep=v1&b&kf-ve=team-a&c=3 HTTP/1.1\r\nHost: x\r\n"
        b"Kf-Sample: 1\r\nCookie: a=1; kf-ve=team-a; b=2\r\nKf-Type: cron\r\n\r\n",
    )

    content = answer.json()
    assert content["query"] == "a=%31&b&c=3"
    assert content["headers"] == [["host", "x"], ["cookie", "a=1; b=2"]]


async def test_hop_by_hop_headers_are_not_passed_on(echo: int) -> None:
    answer = await ask(
        echo,
        b"GET / HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, X-Hop\r\nX-Hop: 1\r\n"
        b"Keep-Alive: 5\r\nTE: trailers\r\nUpgrade: h2c\r\nProxy-Authorization: secret\r\n"
        b"Proxy-Connection: close\r\nX-End: 1\r\n\r\n",
    )

    assert answer.json()["headers"] == [["host", "x"], ["x-end", "1"]]


async def test_a_selector_named_in_the_connection_header_still_counts(echo: int) -> None:
    answer = await ask(
        echo,
        b"GET / HTTP/1.1\r\nHost: x\r\nConnection: kf-dep, kf-ve\r\n"
        b"Kf-Dep: unknown\r\nKf-Ve: team-a\r\n\r\n",
    )

    assert (answer.status, answer.json()["code"]) == (404, "deployment_not_found")


async def test_a_body_keeps_its_encoding(echo: int) -> None:
    answer = await ask(
        echo,
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Encoding: gzip\r\n"
        b"Content-Length: 3\r\n\r\n\x1f\x8b!",
    )

    assert answer.json()["body"] == "\x1f\x8b!"
    assert ["content-encoding", "gzip"] in answer.json()["headers"]  # type: ignore[operator]


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        (b"/", "/", ""),
        (b"/?", "/", ""),
        (b"/%ff%2F", "/%ff%2F", ""),
        (b"/a#b?c", "/a", ""),
        (b"/a?b#c", "/a", "b"),
        (b"http://shop.example/a?b", "/a", "b"),
        (b"http://shop.example", "/", ""),
        (b"//double", "//double", ""),
    ],
)
async def test_every_form_of_request_target_is_parsed(
    echo: int, target: bytes, path: str, query: str
) -> None:
    answer = await ask(echo, b"GET " + target + b" HTTP/1.1\r\nHost: x\r\n\r\n")

    assert (answer.json()["path"], answer.json()["query"]) == (path, query)


async def test_a_long_connection_header_is_applied_and_not_cached(echo: int) -> None:
    names = b", ".join(b"X-%d" % number for number in range(1_000))
    codec._cached_connection_options.cache_clear()

    answer = await ask(
        echo,
        b"GET / HTTP/1.1\r\nHost: x\r\nConnection: " + names + b"\r\nX-999: 1\r\nX-End: 2\r\n\r\n",
    )

    assert answer.json()["headers"] == [["host", "x"], ["x-end", "2"]]
    assert codec._cached_connection_options.cache_info().currsize == 0


async def test_a_chunked_body_is_buffered_whole(echo: int) -> None:
    answer = await ask(
        echo,
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"3\r\nabc\r\n2;ext=1\r\nde\r\n0\r\n\r\n",
    )

    assert answer.json()["body"] == "abcde"


async def test_an_unsupported_transfer_encoding_is_refused(echo: int) -> None:
    answer = await ask(
        echo,
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"
        b"3\r\nabc\r\n0\r\n\r\n",
    )

    assert answer.status == 501
    assert answer.json()["code"] == "unsupported_transfer_encoding"
    assert "gzip" in answer.body.decode()


async def test_a_client_that_expects_100_continue_gets_it(echo: int) -> None:
    async with connect(echo) as connection:
        await connection.send(
            b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n"
        )
        invitation = await connection.read_head()
        await connection.send(b"abc")
        answer = await connection.read()

    assert (invitation.status, answer.status) == (100, 200)
    assert answer.json()["body"] == "abc"
    assert answer.json()["headers"] == [["host", "x"], ["content-length", "3"]]


async def test_a_connection_serves_many_requests(echo: int) -> None:
    async with connect(echo) as connection:
        for number in range(3):
            await connection.send(b"GET /%d HTTP/1.1\r\nHost: x\r\n\r\n" % number)
        answers = [await connection.read() for _ in range(3)]

    assert [answer.json()["path"] for answer in answers] == ["/0", "/1", "/2"]
    assert len({answer.header("kubefox-event-id") for answer in answers}) == 3

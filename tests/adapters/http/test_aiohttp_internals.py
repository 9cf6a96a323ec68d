"""The installed aiohttp has every private or undocumented name that the adapter uses."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http import HttpRequestParser

from adapters.http.aiohttp_internals import (
    INTERNALS,
    PARSER_ARGUMENTS,
    HttpProcessingError,
    Internal,
    ParsingProtocol,
)
from tests.adapters.http.limits import DEFAULTS


def name_of(internal: Internal) -> str:
    owner = internal.owner if isinstance(internal.owner, type) else type(internal.owner)
    return f"{owner.__name__}.{internal.name}"


@pytest.mark.parametrize("internal", INTERNALS, ids=map(name_of, INTERNALS))
def test_aiohttp_has_the_internal(internal: Internal) -> None:
    assert hasattr(internal.owner, internal.name), (
        f"aiohttp {aiohttp.__version__} has no {name_of(internal)}; it is used because: "
        f"{internal.reason}"
    )


@pytest.mark.parametrize("argument", PARSER_ARGUMENTS)
async def test_the_parser_accepts_the_argument(argument: str) -> None:
    value = ValueError if argument == "payload_exception" else 1

    loop = asyncio.get_running_loop()

    HttpRequestParser(BaseProtocol(loop), loop, 1, **{argument: value})  # type: ignore[arg-type]


async def test_the_parser_returns_messages_the_upgrade_and_the_rest() -> None:
    protocol = ParsingProtocol(DEFAULTS)
    assert protocol.parse is not None

    [(message, content)], is_upgraded, _ = protocol.parse(b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n")

    assert (message.method, message.path) == ("GET", "/a")
    assert message.raw_headers == ((b"Host", b"x"),)
    assert content.is_eof()
    assert not is_upgraded


async def test_the_parser_keeps_requests_over_its_limit_until_one_is_consumed() -> None:
    protocol = ParsingProtocol(DEFAULTS)
    assert protocol.parse is not None
    assert protocol.message_consumed is not None
    limit = DEFAULTS.max_pipelined_requests

    messages, _, _ = protocol.parse(b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n" * (limit + 1))
    protocol.message_consumed()
    last, _, _ = protocol.parse(b"")

    assert (len(messages), len(last)) == (limit, 1)


async def test_too_many_headers_are_named_in_the_parsers_message() -> None:
    protocol = ParsingProtocol(DEFAULTS)
    assert protocol.parse is not None
    headers = b"".join(b"X%d: a\r\n" % number for number in range(DEFAULTS.max_headers + 2))

    with pytest.raises(HttpProcessingError) as refused:
        protocol.parse(b"GET / HTTP/1.1\r\nHost: x\r\n" + headers + b"\r\n")

    assert "Too many headers" in refused.value.message

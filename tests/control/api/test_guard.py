"""The guard refuses requests of foreign web pages."""

from __future__ import annotations

import asyncio
import contextlib

import aiohttp
import pytest
from aiohttp.test_utils import make_mocked_request

from control.api.guard import Guard
from control.api.server import ControlApi
from kubefox.errors import NotAuthorized
from tests.control.api.client import Client, OpenApi
from tests.support.owner import CREDENTIALS

TOKEN = f"Authorization: {CREDENTIALS['authorization']}\r\n"


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"host": "evil.example"},
        {"host": "evil.example:8081", "origin": "http://evil.example:8081"},
        {"host": "["},
        {"sec-fetch-site": "cross-site"},
        {"origin": "http://127.0.0.1:1"},
    ],
)
async def test_a_foreign_page_is_refused(client: Client, headers: dict[str, str]) -> None:
    status, answer = await client.call(
        "PUT", "/v1/environments/dev", {"name": "dev"}, headers=headers
    )

    assert (status, answer["code"]) == (403, "not_authorized")
    assert await client.items("/v1/environments") == []


@pytest.mark.parametrize("host", ["localhost:1", "127.0.0.1", "[::1]:80", "LOCALHOST"])
async def test_a_page_of_the_same_origin_is_allowed(client: Client, host: str) -> None:
    headers = {"host": host, "origin": f"http://{host}", "sec-fetch-site": "same-origin"}

    status, _ = await client.call("PUT", "/v1/environments/dev", {"name": "dev"}, headers=headers)

    assert status == 200


async def test_an_allowed_host_name_is_accepted(open_api: OpenApi) -> None:
    async with (
        open_api(
            host="localhost", port=0, version="1", readiness={}, allowed_hosts=["Fox.Example"]
        ) as api,
        aiohttp.ClientSession(headers=CREDENTIALS) as session,
    ):
        client = Client(session, f"http://127.0.0.1:{api.port}")
        assert (await client.call("GET", "/healthz", headers={"host": "fox.example"}))[0] == 200
        assert (await client.call("GET", "/healthz", headers={"host": "ox.example"}))[0] == 403


OWN = "Host: 127.0.0.1\r\n"
EVIL = "Host: evil.example\r\n"


@pytest.mark.parametrize(
    ("start_line", "headers", "status"),
    [
        ("GET /v1/version HTTP/1.1", OWN, 200),
        ("GET /v1/version HTTP/1.1", EVIL, 403),
        ("GET /v1/version HTTP/1.1", "Host: 127.0.0.1.evil.example\r\n", 403),
        ("GET /v1/version HTTP/1.1", "Host: evil.example@127.0.0.1\r\n", 403),
        ("GET /v1/version HTTP/1.1", "Host: 127.0.0.1@evil.example\r\n", 403),
        ("GET /v1/version HTTP/1.1", "Host:\r\n", 403),
        ("GET /v1/version HTTP/1.0", "", 403),
        ("GET http://127.0.0.1/v1/version HTTP/1.1", EVIL, 403),
        ("GET /openapi.json HTTP/1.1", EVIL, 403),
        ("OPTIONS /v1/plans HTTP/1.1", f"{OWN}Origin: http://evil.example\r\n", 403),
        ("GET /v1/version HTTP/1.1", f"{OWN}Origin: http://127.0.0.1.evil.example\r\n", 403),
    ],
)
async def test_the_host_is_checked_as_it_was_sent(
    api: ControlApi, start_line: str, headers: str, status: int
) -> None:
    sent = f"{start_line}\r\n{headers}{TOKEN}Connection: close\r\n\r\n"

    assert await _status(api, sent) == status


async def test_a_second_host_header_does_not_hide_a_foreign_one(api: ControlApi) -> None:
    for headers in (EVIL + OWN, OWN + EVIL):
        sent = f"GET /v1/version HTTP/1.1\r\n{headers}{TOKEN}Connection: close\r\n\r\n"
        assert await _status(api, sent) in {400, 403}


async def _status(api: ControlApi, sent: str) -> int:
    reader, writer = await asyncio.open_connection(api.host, api.port)
    try:
        writer.write(sent.encode())
        return int((await reader.readline()).split()[1])
    finally:
        writer.close()


@pytest.mark.parametrize(
    ("host", "is_accepted"),
    [
        ("10.1.2.3:8081", True),
        ("[2001:db8::1]:8081", True),
        ("localhost", True),
        ("fox.example:8081", True),
        ("FOX.example", True),
        ("evil.example:8081", False),
        ("10.1.2.3.evil.example", False),
        ("", False),
    ],
)
def test_beyond_loopback_names_are_accepted_only_if_they_are_configured(
    host: str, is_accepted: bool
) -> None:
    guard = Guard("0.0.0.0", ["fox.example"])  # noqa: S104 - nothing listens
    request = make_mocked_request("GET", "/v1/version", headers={"host": host})

    with contextlib.nullcontext() if is_accepted else pytest.raises(NotAuthorized):
        guard.check(request)


def test_an_address_that_is_not_loopback_is_foreign_to_a_loopback_listener() -> None:
    request = make_mocked_request("GET", "/v1/version", headers={"host": "10.1.2.3"})

    with pytest.raises(NotAuthorized, match="FOX_CONTROL_ALLOWED_HOSTS"):
        Guard("127.0.0.1").check(request)


def test_a_page_behind_a_proxy_with_tls_is_of_the_same_origin() -> None:
    headers = {"host": "fox.example", "origin": "https://fox.example"}

    Guard("127.0.0.1", ["fox.example"]).check(make_mocked_request("GET", "/", headers=headers))

"""Who may call the control API: no page of elsewhere."""

from __future__ import annotations

import aiohttp
import pytest

from tests.broker.api.client import Client, OpenApi


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
async def test_a_page_of_elsewhere_may_not_call(client: Client, headers: dict[str, str]) -> None:
    status, answer = await client.call(
        "PUT", "/v1/environments/dev", {"name": "dev"}, headers=headers
    )

    assert (status, answer["code"]) == (403, "not_authorized")
    assert await client.call("GET", "/v1/environments") == (200, [])


@pytest.mark.parametrize("host", ["localhost:1", "127.0.0.1", "[::1]:80", "LOCALHOST"])
async def test_a_page_of_its_own_may_call(client: Client, host: str) -> None:
    headers = {"host": host, "origin": f"http://{host}", "sec-fetch-site": "same-origin"}

    status, _ = await client.call("PUT", "/v1/environments/dev", {"name": "dev"}, headers=headers)

    assert status == 200


async def test_a_name_that_is_allowed_may_be_called(open_api: OpenApi) -> None:
    async with (
        open_api(
            host="localhost", port=0, version="1", readiness={}, allowed_hosts=["Fox.Example"]
        ) as api,
        aiohttp.ClientSession() as session,
    ):
        client = Client(session, f"http://127.0.0.1:{api.port}")
        assert (await client.call("GET", "/healthz", headers={"host": "fox.example"}))[0] == 200
        assert (await client.call("GET", "/healthz", headers={"host": "ox.example"}))[0] == 403

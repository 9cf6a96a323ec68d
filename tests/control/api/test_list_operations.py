"""Lists over the API: parameters, tokens, problems, and their description."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from broker.events.dead_letters import DeadLetters
from kubefox import subjects
from kubefox.dead_letter import DeadLetterRecord
from kubefox.errors import ErrorDetail
from tests.control.api.client import API, Client
from tests.support.control_plane import Plane

LISTS = [
    "/v1/deployments",
    "/v1/releases",
    "/v1/environments",
    "/v1/virtual-environments",
    "/v1/http-adapters",
    "/v1/pods",
    "/v1/idle-versions",
    "/v1/scales",
    "/v1/dead-letters",
]


async def all_items(client: Client, path: str) -> list[Any]:
    """Return the objects of all pages."""
    items: list[Any] = []
    token = ""
    while True:
        joiner = "&" if "?" in path else "?"
        status, page = await client.call("GET", f"{path}{joiner}continue={token}")
        assert status == 200, page
        items += page["items"]
        token = page["continue"]
        if not token:
            return items


@pytest.mark.parametrize("path", LISTS)
async def test_every_list_has_pages_and_describes_them(client: Client, path: str) -> None:
    status, page = await client.call("GET", f"{path}?limit=1&sort=name&name_prefix=x")
    refused, problem = await client.call("GET", f"{path}?limit=0")
    unknown, _ = await client.call("GET", f"{path}?nope=1")
    unsorted, said = await client.call("GET", f"{path}?sort=nope")
    _, described = await client.call("GET", "/openapi.json")

    assert (status, page["items"], page["continue"]) == (200, [], "")
    assert page.keys() == {"revision", "continue", "remaining_item_count", "items"}
    assert (refused, problem["detail"]) == (400, "limit is 0: expected 1 to 10000")
    assert (unknown, unsorted) == (400, 400)
    assert "expected" in said["detail"]
    parameters = described["paths"][path]["get"]["parameters"]
    assert {"limit", "continue", "sort", "name_prefix"} <= {each["name"] for each in parameters}
    assert all(each["description"] for each in parameters)
    limit = {"type": "integer", "minimum": 1, "maximum": 10_000, "default": 500}
    assert limit in [each["schema"] for each in parameters]


async def test_pages_are_read_with_the_token_of_the_page_before(
    client: Client, plane: Plane
) -> None:
    await plane.environments(*(f"team-{number}" for number in range(5)))

    found = await all_items(client, "/v1/virtual-environments?limit=2&sort=-name")

    assert [stored["object"]["name"] for stored in found] == [
        f"team-{number}" for number in (4, 3, 2, 1, 0)
    ]


async def test_an_expired_token_is_a_problem_with_a_token_for_the_rest(
    client: Client, plane: Plane, monkeypatch: pytest.MonkeyPatch
) -> None:
    await plane.environments(*(f"team-{number}" for number in range(3)))
    _, page = await client.call("GET", "/v1/virtual-environments?limit=2")
    monkeypatch.setattr("control.listing.kept_views.KeptViews.find", lambda *_: None)
    await plane.environments("team-9")

    path = "/v1/virtual-environments?limit=2&continue="
    status, problem = await client.call("GET", path + page["continue"])
    _, rest = await client.call("GET", path + problem["continue"])

    assert (status, problem["code"]) == (410, "continue_expired")
    assert [stored["object"]["name"] for stored in rest["items"]] == ["team-2", "team-9"]


async def test_dead_letters_are_listed_in_pages_up_to_the_newest_of_the_first_page(
    client: Client, dead_letters: DeadLetters
) -> None:
    async def store(number: int, deployment: str) -> None:
        target = subjects.component("order-app", "api-server", API.hash)
        reason = ErrorDetail("refused", str(number))
        record = DeadLetterRecord(target, b"body", reason, 1, number, 3, deployment)
        await dead_letters.store(record, number)

    for number in range(1, 6):
        await store(number, "even" if number % 2 == 0 else "odd")
    path = "/v1/dead-letters?limit=2"
    _, first = await client.call("GET", path)
    await store(6, "even")

    found = first["items"]
    token = first["continue"]
    while token:
        _, page = await client.call("GET", f"{path}&continue={token}")
        found, token = [*found, *page["items"]], page["continue"]

    assert [letter["detail"] for letter in found] == ["1", "2", "3", "4", "5"]
    even = await all_items(client, "/v1/dead-letters?deployment=even&limit=1")
    assert [letter["detail"] for letter in even] == ["2", "4", "6"]
    assert await all_items(client, "/v1/dead-letters?app=other") == []
    assert len(await all_items(client, "/v1/dead-letters?component=api-server&limit=4")) == 6
    assert await client.call("GET", "/v1/dead-letters?app=*") != (200, [])
    status, _ = await client.call("GET", "/v1/dead-letters?app=*")
    assert status == 400


async def test_a_filter_by_an_unknown_state_names_the_states(client: Client) -> None:
    status, problem = await client.call("GET", "/v1/pods?phase=running")

    assert status == 400
    assert problem["detail"] == (
        "query parameter phase is 'running': expected one of "
        "starting, ready, back-off, stopping, unknown"
    )


async def test_pages_hold_each_object_once_while_others_are_written(
    client: Client, plane: Plane
) -> None:
    kept = [f"team-{number}" for number in range(9)]
    await plane.environments(*kept)
    is_read = asyncio.Event()
    written = 0

    async def write() -> None:
        nonlocal written
        while not is_read.is_set():
            name = f"team-{written % 9}-other"
            path = f"/v1/virtual-environments/{name}"
            await client.call("PUT", path, {"name": name, "environment": "dev"})
            await client.call("DELETE", path)
            written += 1

    writing = asyncio.ensure_future(write())
    found: list[str] = []
    revisions, token = set(), ""
    while token or not found:
        before = written
        path = f"/v1/virtual-environments?limit=2&continue={token}"
        _, page = await client.call("GET", path)
        found += [stored["object"]["name"] for stored in page["items"]]
        revisions.add(page["revision"])
        token = page["continue"]
        while written == before:
            await asyncio.sleep(0)
    is_read.set()
    await writing

    assert len(revisions) == 1
    assert len(found) == len(set(found))
    assert [name for name in found if name in kept] == kept

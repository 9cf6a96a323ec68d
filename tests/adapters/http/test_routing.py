"""Routing of real HTTP requests: paths, hosts, queries and selectors as they are sent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from adapters.http.server import HttpAdapter
from fox import Context, Kit
from tests.adapters.http.raw import RawResponse, ask
from tests.support.data_plane import SETTINGS
from tests.support.nats import NatsServer
from tests.support.world import World, open_world

LONG = "x" * 8_000


def echo(*rules: str) -> Kit:
    """Return a component that responds with the event that it got."""
    kit = Kit()

    async def answer(ctx: Context) -> dict[str, Any]:
        return {
            "route": ctx.event.handler,
            "params": dict(ctx.params),
            "type": ctx.type,
            "path": ctx.path,
            "query": ctx.event.query,
            "headers": [name for name, _ in ctx.event.headers],
            "where": [ctx.deployment, ctx.virtual_environment],
        }

    for rule in rules:
        kit.route(rule)(answer)
    return kit


WEB = echo(
    "Path(`/`)",
    "Path(`/files/{name}`)",
    "PathPrefix(`/static`)",
    "Path(`/hosted`) && Host(`shop.example`)",
    "Path(`/hosted6`) && Host(`[::1]`)",
    "Path(`/search`) && Query(`k`, `b`)",
    "Path(`/typed`) && Type(`cron`)",
    "Path(`/typed`) && Type(`http`)",
    "Path(`/explosive/{word:(a+)+$}`)",
    "Path(`/explosive`) && Header(`word`, `{(a|a)*b}`) && Query(`word`, `{(a+)+$}`)",
)


@pytest.fixture
async def world(own_nats_server: NatsServer) -> AsyncIterator[World]:
    async with open_world(
        own_nats_server.url,
        environments={"team-a": {}, "team-b": {}},
        deployments={"v2": {"web": WEB}},
    ) as world:
        await world.serve("v1", {"web": WEB}, released_in="team-a")
        yield world


@pytest.fixture
async def port(world: World) -> int:
    return (await world.enter_adapter(HttpAdapter(world.broker, SETTINGS))).port


async def get(port: int, target: str, *headers: str, host: str = "localhost") -> RawResponse:
    lines = "".join(f"{line}\r\n" for line in (f"GET {target} HTTP/1.1", f"host: {host}", *headers))
    return await ask(port, f"{lines}\r\n".encode())


async def seen(port: int, target: str, *headers: str, host: str = "localhost") -> dict[str, Any]:
    """Return the event that the component got."""
    answer = await get(port, target, *headers, host=host)
    assert answer.status == 200, answer.body
    found: dict[str, Any] = msgspec.json.decode(answer.body)
    return found


async def test_extra_slashes_do_not_affect_matching_and_are_passed_on(port: int) -> None:
    for target in ("/files/x", "/files/x/", "//files/x", "/files///x//"):
        given = await seen(port, target)
        assert given["params"] == {"name": "x"}
        assert given["path"] == target


async def test_the_root_matches_in_every_spelling(port: int) -> None:
    for target in ("/", "//", "/?", "http://localhost", "http://localhost/"):
        assert (await seen(port, target))["route"] == 0
    assert (await get(port, "/nothing")).status == 404


async def test_percent_encoding_is_decoded_in_a_segment_and_never_splits_one(port: int) -> None:
    for encoded, name in (
        ("a%2Fb", "a/b"),
        ("a%2fb", "a/b"),
        ("%C3%A4%20b", "ä b"),
        ("a+b", "a+b"),
        ("100%", "100%"),
        ("%ff", "�"),
        ("%2525", "%25"),
        ("%2e%2e", ".."),
    ):
        given = await seen(port, f"/files/{encoded}")
        assert given["params"] == {"name": name}
        assert given["path"] == f"/files/{encoded}"
    assert (await seen(port, "/%66iles/x"))["params"] == {"name": "x"}
    assert (await get(port, "/files%2Fx")).status == 404


async def test_path_prefix_passes_the_path_suffix(port: int) -> None:
    for target, suffix in (
        ("/static", "/"),
        ("/static/", "/"),
        ("/static/css/a%2Fb.css", "/css/a/b.css"),
    ):
        assert (await seen(port, target))["params"] == {"path_suffix": suffix}
    assert (await get(port, "/statics")).status == 404


async def test_a_host_matches_in_any_case_with_any_port(port: int) -> None:
    for host in ("shop.example", "SHOP.example:8080", "shop.example.", "shop.example.:80"):
        assert (await seen(port, "/hosted", host=host))["route"] == 3
    for host in ("[::1]", "[::1]:8080"):
        assert (await seen(port, "/hosted6", host=host))["route"] == 4
    assert (await get(port, "/hosted", host="other.example")).status == 404


async def test_the_host_of_an_absolute_target_overrides_the_host_header(port: int) -> None:
    for authority in ("shop.example", "SHOP.example:80", "user@shop.example"):
        assert (await seen(port, f"http://{authority}/hosted", host="other.example"))["route"] == 3
    answer = await get(port, "http://other.example/hosted", host="shop.example")
    assert answer.status == 404


async def test_one_of_several_query_values_matches_and_all_are_passed_on(port: int) -> None:
    for query in ("k=b", "k=a&k=b", "x&k=%62&k=c", "k=b&k=b"):
        assert (await seen(port, f"/search?{query}"))["query"] == query
    for query in ("k=a", "K=b", "k", "k=b%20"):
        assert (await get(port, f"/search?{query}")).status == 404


async def test_a_client_cannot_set_the_type_of_its_event(port: int) -> None:
    given = await seen(port, "/typed?kf-type=cron&a=1", "kf-type: cron", "x-own: 1")

    assert given["route"] == 7
    assert given["type"] == "http"
    assert given["query"] == "a=1"
    assert given["headers"] == ["host", "x-own"]


async def test_removing_selectors_keeps_order_and_encoding_of_the_query(
    port: int,
) -> None:
    given = await seen(
        port,
        "/?b=%41&kf-dep=v2&a=1+2&&kf-ve=team-b&b",
        "kubefox-app-deployment: v1",
        "cookie: theme=dark; kf-ve=team-a",
        "x-own: 1",
    )

    assert given["where"] == ["v2", "team-b"]
    assert given["query"] == "b=%41&a=1+2&&b"
    assert given["headers"] == ["host", "cookie", "x-own"]


async def test_the_same_selector_twice_is_one_and_a_different_one_is_an_error(port: int) -> None:
    both = "kf-dep=v2&kf-ve=team-b"
    same = await seen(port, f"/?{both}&kubefox-app-deployment=v2&kf-ve=team%2Db")
    headers = ("kf-dep: v2", "kf-ve: team-b")
    same_headers = await seen(port, "/", *headers, "kubefox-virtual-environment: team-b")

    assert same["where"] == same_headers["where"] == ["v2", "team-b"]
    for target, lines in (
        (f"/?{both}&kf-dep=v1", ()),
        (f"/?{both}&kubefox-virtual-environment=team-a", ()),
        ("/", (*headers, "kubefox-app-deployment: v1")),
        ("/?kf-dep=&kf-ve=team-a", ()),
        ("/?kf-dep=v1", ()),
    ):
        answer = await get(port, target, *lines)
        assert answer.status == 400
        assert answer.json()["code"] == "invalid_selector"


async def test_a_selector_that_names_nothing_never_falls_back_to_the_release(port: int) -> None:
    for query, code in (
        ("kf-dep=v9&kf-ve=team-a", "deployment_not_found"),
        ("kf-dep=v1&kf-ve=team-z", "environment_not_found"),
        ("kf-ve=team-z", "environment_not_found"),
        ("kf-ve=team-b", "release_not_found"),
        (f"kf-dep={LONG}&kf-ve=team-a", "deployment_not_found"),
        ("kf-dep=v1%0d%0ax%00&kf-ve=team-a", "deployment_not_found"),
        ("kf-dep=%ff&kf-ve=team-a", "deployment_not_found"),
    ):
        answer = await get(port, f"/?{query}")
        assert answer.status == 404
        assert answer.json()["code"] == code


async def test_a_regex_with_exponential_backtracking_does_not_block_other_requests(
    port: int,
) -> None:
    # 2 ** 8000 steps for an engine that backtracks: it would block all other requests.
    word = "a" * 8_000
    asked = [
        get(port, f"/explosive/{word}!"),
        get(port, f"/explosive?word={word}!", f"word: {word}"),
        *(get(port, "/") for _ in range(20)),
    ]

    answers = [answer.status for answer in await asyncio.gather(*asked)]

    assert answers == [404, 404, *[200] * 20]
    assert (await seen(port, f"/explosive/{word}"))["params"] == {"word": word}
    assert (await seen(port, "/explosive?word=aa", "word: aab"))["route"] == 9


async def test_long_names_and_paths_are_routed_like_short_ones(port: int) -> None:
    assert (await seen(port, f"/files/{LONG}"))["params"] == {"name": LONG}
    assert (await seen(port, f"/search?{LONG}=1&k=b"))["route"] == 5
    assert (await get(port, "/deep" + "/a" * 400)).status == 404


async def test_a_path_of_very_many_segments_is_refused(port: int) -> None:
    assert (await get(port, "/deep" + "/a" * 4_000)).status == 431


async def test_a_selector_among_very_many_parameters_is_refused(port: int) -> None:
    assert (await get(port, "/?kf-ve=test" + "&a=1" * 2_000)).status == 431

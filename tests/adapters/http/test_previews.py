"""Previews: a share opens one deployment in one virtual environment, and nothing else."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from adapters.http.server import HttpAdapter
from broker.runtime.settings import Settings
from fox import Context, Kit, Response
from kubefox.records import share_key, virtual_environment_key
from kubefox.selection import Selection
from kubefox.share import PURPOSE, Share, claims_of, sign
from tests.adapters.http.raw import RawResponse, ask
from tests.support.data_plane import SETTINGS
from tests.support.nats import NatsServer
from tests.support.world import World, open_world

SIGNED = msgspec.structs.replace(SETTINGS, http_selection="signed")
RELEASED = msgspec.structs.replace(SETTINGS, http_selection="released")
HTML = "accept: text/html,*/*"


def web() -> Kit:
    kit = Kit()

    @kit.route("All()")
    async def show(ctx: Context) -> Response:
        seen = {
            "where": [ctx.deployment, ctx.virtual_environment],
            "query": ctx.event.query,
            "headers": [name for name, _ in ctx.event.headers],
            "cookies": dict(ctx.event.headers).get("cookie", ""),
        }
        headers = {"cache-control": "public, max-age=60", "cdn-cache-control": "max-age=60"}
        return Response(msgspec.json.encode(seen), headers=headers)

    return kit


@pytest.fixture
async def world(own_nats_server: NatsServer) -> AsyncIterator[World]:
    """v1 is released in ``live``; v2 is deployed."""
    kits = {"web": web()}
    async with open_world(
        own_nats_server.url,
        environments={"live": {}, "qa": {}},
        deployments={"v2": kits},
    ) as world:
        await world.serve("v1", kits, released_in="live")
        yield world


async def listen(world: World, settings: Settings = SIGNED) -> int:
    return (await world.enter_adapter(HttpAdapter(world.broker, settings))).port


@pytest.fixture
async def port(world: World) -> int:
    return await listen(world)


async def share(world: World, name: str = "s1", **fields: Any) -> str:
    """Store a share of v2 in ``qa``, and return its token."""
    now_s = int(time.time())
    values: dict[str, Any] = {
        "deployment": "v2",
        "virtual_environment": "qa",
        "expires_at_s": now_s + 600,
        "created_at_s": now_s,
        **fields,
    }
    record = Share(name=name, **values)
    await world.plane.write(share_key(name), record)
    return sign(claims_of(record), world.broker.contexts.derived_keys(PURPOSE)[0])


async def send(
    port: int, target: str, *headers: str, method: str = "GET", host: str = "shop.example.com"
) -> RawResponse:
    lines = (f"{method} {target} HTTP/1.1", f"host: {host}", *headers, "", "")
    return await ask(port, "\r\n".join(lines).encode())


def where(answer: RawResponse) -> object:
    assert answer.status == 200, answer
    return answer.json()["where"]


def without_event(answer: RawResponse) -> object:
    """Return all of an answer that does not differ from event to event."""
    ids = {"date", "kubefox-event-id", "kubefox-trace-id"}
    problem = answer.json()
    problem.pop("event_id")
    headers = [header for header in answer.headers if header[0] not in ids]
    return answer.status, headers, problem


async def test_a_browser_opens_a_share_once_and_stays_by_its_cookie(
    world: World, port: int
) -> None:
    token = await share(world)
    opened = await send(port, f"/shop?a=%41&kf-share={token}&b", HTML)
    page = await send(port, opened.header("location"), f"cookie: x=1; kf-share={token}")
    asset = await send(port, "/style.css", f"cookie: kf-share={token}")
    posted = await send(port, "/order", f"cookie: kf-share={token}", method="POST")

    assert (opened.status, opened.header("location")) == (303, "/shop?a=%41&b")
    assert opened.header("cache-control") == "no-store"
    assert opened.header("referrer-policy") == "no-referrer"
    name_and_token, *attributes = opened.header("set-cookie").split("; ")
    assert name_and_token == f"kf-share={token}"
    max_age, *others = attributes
    assert others == ["Path=/", "HttpOnly", "SameSite=Lax"]
    assert 0 < int(max_age.removeprefix("Max-Age=")) <= 600
    assert [where(answer) for answer in (page, asset, posted)] == [["v2", "qa"]] * 3
    assert page.json()["cookies"] == "x=1"
    assert page.json()["query"] == "a=%41&b"
    assert where(await send(port, "/")) == ["v1", "live"]


async def test_the_cookie_is_secure_where_the_client_speaks_https(world: World, port: int) -> None:
    token = await share(world)
    for line in ("x-forwarded-proto: https", 'forwarded: for=10.0.0.1;proto="https"'):
        opened = await send(port, f"/?kf-share={token}", HTML, line)

        assert opened.header("set-cookie").endswith("; Secure")


async def test_a_program_gets_its_answer_at_once(world: World, port: int) -> None:
    token = await share(world)

    by_query = await send(port, f"/?kf-share={token}", "accept: */*")
    by_header = await send(port, "/", f"kf-share: {token}")
    posted = await send(port, f"/?kf-share={token}", HTML, method="POST")

    assert [where(answer) for answer in (by_query, by_header, posted)] == [["v2", "qa"]] * 3
    assert [len(answer.all("set-cookie")) for answer in (by_query, by_header, posted)] == [1, 0, 0]
    assert by_header.json()["headers"] == ["host"]


async def test_no_cache_gives_a_preview_to_others(world: World, port: int) -> None:
    token = await share(world)

    preview = await send(port, "/", f"cookie: kf-share={token}")
    refused = await send(port, "/", "cookie: kf-share=no")
    plain = await send(port, "/")

    assert preview.all("cache-control") == ["private, max-age=60"]
    assert preview.all("cdn-cache-control") == []
    assert "cookie" in preview.header("vary")
    assert refused.header("cache-control") == "no-store"
    assert plain.all("cache-control") == ["public, max-age=60"]
    assert plain.all("vary") == []


async def test_a_share_opens_nothing_else(world: World, port: int) -> None:
    token = await share(world)
    cookie = f"cookie: kf-share={token}"

    answers = [
        without_event(await send(port, f"/?kf-dep={deployment}&kf-ve={name}", cookie))
        for deployment, name in (("v1", "qa"), ("v3", "qa"))
    ]
    assert answers[0] == answers[1]
    assert (await send(port, "/?kf-dep=v2&kf-ve=live", cookie)).status == 404
    assert where(await send(port, "/?kf-dep=v2&kf-ve=qa", cookie)) == ["v2", "qa"]
    assert where(await send(port, "/?kf-ve=live", cookie)) == ["v1", "live"]


async def test_a_share_that_is_not_valid_is_refused_and_its_cookie_removed(
    world: World, port: int
) -> None:
    token = await share(world)
    ended = await share(world, "s2", expires_at_s=int(time.time()) - 1)
    revoked = await share(world, "s3")
    await world.plane.delete(share_key("s3"))
    altered = f"{token[:-2]}{'AA' if token[-2:] != 'AA' else 'BB'}"
    moved = await share(world, "s4")
    await share(world, "s4", virtual_environment="live")
    foreign = sign(claims_of(world.broker.snapshot.records.shares["s1"].record), b"x" * 32)

    answers = [
        without_event(await send(port, "/", f"cookie: kf-share={bad}"))
        for bad in (ended, revoked, altered, moved, foreign, "x")
    ]

    assert all(answer == answers[0] for answer in answers)
    last = await send(port, "/", "cookie: kf-share=x")
    assert (last.status, last.json()["code"]) == (404, "not_found")
    assert last.header("set-cookie").startswith("kf-share=; Max-Age=0; ")
    assert (await send(port, f"/?kf-share={ended}", HTML)).status == 404
    assert (await send(port, "/?kf-ve=live", f"cookie: kf-share={ended}")).status == 200


async def test_a_revoked_share_ends_at_once_though_it_was_used(world: World, port: int) -> None:
    token = await share(world)
    cookie = f"cookie: kf-share={token}"
    assert where(await send(port, "/", cookie)) == ["v2", "qa"]

    await world.plane.delete(share_key("s1"))

    assert (await send(port, "/", cookie)).status == 404


async def test_a_share_for_a_host_is_refused_under_another_name(world: World, port: int) -> None:
    token = await share(world, host="shop.example.com")
    cookie = f"cookie: kf-share={token}"

    assert where(await send(port, "/", cookie, host="Shop.Example.com:8080")) == ["v2", "qa"]
    assert (await send(port, "/", cookie, host="other.example.com")).status == 404


async def test_a_listener_for_the_released_accepts_no_share(world: World) -> None:
    token = await share(world)
    port = await listen(world, RELEASED)

    for line in (f"cookie: kf-share={token}", f"kf-share: {token}"):
        assert (await send(port, "/", line)).status == 404
    assert (await send(port, f"/?kf-share={token}", HTML)).status == 404


async def test_a_share_in_a_virtual_environment_that_became_production_is_refused(
    world: World, port: int
) -> None:
    token = await share(world)
    record = world.broker.snapshot.virtual_environments["qa"]
    for strict in (
        msgspec.structs.replace(record, production=True),
        msgspec.structs.replace(record, selection=Selection.RELEASED),
    ):
        await world.plane.write(virtual_environment_key("qa"), strict)

        answer = await send(port, "/", f"cookie: kf-share={token}")
        assert (answer.status, answer.json()["code"]) == (404, "environment_not_found")


async def test_a_preview_is_ended_by_a_url(world: World, port: int) -> None:
    ended = await send(port, "/a?kf-share=end&x=1", f"cookie: kf-share={await share(world)}")

    assert (ended.status, ended.header("location")) == (303, "/a?x=1")
    assert ended.header("set-cookie").startswith("kf-share=; Max-Age=0; Path=/")


@pytest.mark.parametrize(
    ("target", "location"),
    [
        ("//evil.example/a", "/.//evil.example/a"),
        ("/\\evil.example", "/%5Cevil.example"),
        ("/a?b=%0d%0aset-cookie:x", "/a?b=%0d%0aset-cookie:x"),
        ("http://evil.example/a", "/a"),
    ],
)
async def test_the_redirect_stays_on_its_host(
    world: World, port: int, target: str, location: str
) -> None:
    token = await share(world)
    separator = "&" if "?" in target else "?"

    opened = await send(port, f"{target}{separator}kf-share={token}", HTML)

    assert (opened.status, opened.header("location")) == (303, location)


async def test_a_loopback_listener_is_open_for_direct_requests_only(world: World) -> None:
    port = await listen(world, SETTINGS)
    target = "/?kf-dep=v2&kf-ve=qa"

    assert where(await send(port, target, host="localhost")) == ["v2", "qa"]
    for line in ("x-forwarded-for: 1.2.3.4", "via: 1.1 a", "origin: https://evil.example.com"):
        assert (await send(port, target, line, host="localhost")).status == 404
    assert (await send(port, target)).status == 404


async def test_a_listener_with_a_known_proxy_is_not_open(world: World) -> None:
    behind = msgspec.structs.replace(SETTINGS, http_trusted_proxies="127.0.0.1")
    port = await listen(world, behind)

    assert (await send(port, "/?kf-dep=v2&kf-ve=qa", host="localhost")).status == 404


async def test_a_listener_beyond_loopback_is_not_open(world: World) -> None:
    everywhere = msgspec.structs.replace(SETTINGS, http_host="0.0.0.0")  # noqa: S104
    port = await listen(world, everywhere)

    assert (await send(port, "/?kf-dep=v2&kf-ve=qa", host="localhost")).status == 404
    assert where(await send(port, "/", host="localhost")) == ["v1", "live"]


LONG = ("kubefox-app-deployment", "kubefox-virtual-environment")


@pytest.mark.parametrize("names", [("kf-dep", "kf-ve"), LONG])
@pytest.mark.parametrize("place", ["query", "headers", "cookie", "both"])
async def test_all_ways_to_select_have_one_answer_for_all_names(
    world: World, place: str, names: tuple[str, str]
) -> None:
    port = await listen(world, RELEASED)

    async def ask_for(deployment: str, virtual_environment: str) -> str:
        of_deployment, of_environment = names
        query = f"{of_deployment}={deployment}&{of_environment}={virtual_environment}"
        lines = (f"{of_deployment}: {deployment}", f"{of_environment}: {virtual_environment}")
        cookie = (f"cookie: kf-dep={deployment}; kf-ve={virtual_environment}",)
        sent: dict[str, tuple[str, ...]] = {
            "query": (f"/?{query}",),
            "headers": ("/", *lines),
            "cookie": ("/", *cookie),
            "both": (f"/?{of_environment}={virtual_environment}", lines[0]),
        }
        answer = without_event(await send(port, *sent[place]))
        return str(answer).replace(virtual_environment, "VE")

    answers = {
        await ask_for(deployment, virtual_environment)
        for deployment, virtual_environment in (("v2", "qa"), ("zz", "qa"), ("v2", "zz"))
    }

    assert len(answers) == 1
    assert "(404, " in answers.pop()

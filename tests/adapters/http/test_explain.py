"""The header ``kubefox-explain: 1`` on real requests."""

from __future__ import annotations

from collections.abc import AsyncIterator

import msgspec
import pytest

from adapters.http import trust
from adapters.http.server import HttpAdapter
from fox import Context, Kit
from routing.explanation import Explanation
from routing.selectors import Source
from tests.adapters.http.raw import RawResponse, ask
from tests.support.data_plane import SETTINGS, digest
from tests.support.nats import NatsServer
from tests.support.world import World, open_world

NO_NETWORKS = msgspec.structs.replace(SETTINGS, http_trusted_networks="")
EXPLAIN = "kubefox-explain: 1"


async def never(_ctx: Context) -> str:
    raise AssertionError("a request for an explanation is not served")


@pytest.fixture
async def world(own_nats_server: NatsServer) -> AsyncIterator[World]:
    web = Kit()
    web.route("Path(`/{{.Vars.at}}/{id}`) && Method(`GET`)")(never)
    web.route("PathPrefix(`/`)", priority=-1)(never)
    async with open_world(
        own_nats_server.url,
        environments={"team-a": {"at": "orders"}},
        deployments={"v1": {"web": web}},
        released={"team-a": "v1"},
    ) as world:
        yield world


@pytest.fixture
async def port(world: World) -> int:
    return (await world.enter_adapter(HttpAdapter(world.broker, SETTINGS))).port


async def get(port: int, target: str, *headers: str, method: str = "GET") -> RawResponse:
    lines = "".join(f"{line}\r\n" for line in (f"{method} {target} HTTP/1.1", "host: x", *headers))
    return await ask(port, f"{lines}\r\n".encode())


async def explained(port: int, target: str, *headers: str, method: str = "GET") -> Explanation:
    answer = await get(port, target, *headers, method=method)
    assert answer.status == 200
    assert answer.header("content-type").startswith("application/json")
    return msgspec.json.decode(answer.body, type=Explanation)


async def test_the_explanation_names_the_winning_route_and_its_params(port: int) -> None:
    found = await explained(port, "/orders/7", EXPLAIN)

    assert found.winner is not None
    assert found.winner.deployment == "v1"
    assert found.winner.params == {"id": "7"}
    assert found.winner.resolved == "Path(`/orders/{id}`) && Method(`GET`)"
    assert [(node.component, node.hash) for node in found.graph] == [("web", digest("v1"))]
    assert [candidate.wins for candidate in found.candidates] == [True, False]


async def test_the_explanation_names_the_predicate_that_refused(port: int) -> None:
    found = await explained(port, "/orders/7", EXPLAIN, method="DELETE")

    assert found.candidates[0].refused_by == "Method(`GET`)"
    assert found.winner == found.candidates[1]


async def test_the_explanation_has_the_source_of_each_selector(port: int) -> None:
    found = await explained(port, "/orders/7?kf-dep=v1", "kf-ve: team-a", EXPLAIN)

    assert found.selectors.deployment_source is Source.QUERY
    assert found.selectors.virtual_environment_source is Source.HEADER
    assert found.winner is not None
    assert found.winner.release == ""


async def test_the_explanation_of_a_failing_request_has_its_error(port: int) -> None:
    found = await explained(port, "/orders/7?kf-dep=v9&kf-ve=team-a", EXPLAIN)

    assert found.status == 404
    assert found.error is not None
    assert found.error.code == "deployment_not_found"
    assert found.winner is None


async def test_an_invalid_selector_is_refused_with_the_explain_header_too(port: int) -> None:
    assert (await get(port, "/?kf-dep=", EXPLAIN)).status == 400


async def test_the_explain_header_has_no_effect_for_other_networks(world: World) -> None:
    async with HttpAdapter(world.broker, NO_NETWORKS) as adapter:
        answer = await get(adapter.port, "/orders/7", EXPLAIN)

    assert answer.status == 503
    assert answer.json()["code"] == "no_pod_ready"


async def test_only_the_value_1_asks_for_an_explanation(port: int) -> None:
    assert (await get(port, "/orders/7", "kubefox-explain: 0")).status == 503


async def test_a_client_that_asks_for_too_many_explanations_is_told_so(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trust, "EXPLANATIONS_AT_ONCE", 1)
    monkeypatch.setattr(trust, "EXPLANATIONS_PER_S", 0.001)
    async with HttpAdapter(world.broker, SETTINGS) as adapter:
        first = await get(adapter.port, "/orders/7", EXPLAIN)
        second = await get(adapter.port, "/orders/7", EXPLAIN)

    assert first.status == 200
    assert second.status == 503
    assert second.json()["code"] == "overloaded"


@pytest.mark.parametrize(
    "line",
    [
        "x-forwarded-for: 127.0.0.1",
        "forwarded: for=127.0.0.1",
        "via: 1.1 proxy",
        "origin: https://evil.example.com",
    ],
)
async def test_no_explanation_goes_through_a_proxy_or_to_a_foreign_page(
    port: int, line: str
) -> None:
    answer = await get(port, "/orders/7", EXPLAIN, line)

    assert answer.status == 503
    assert answer.json()["code"] == "no_pod_ready"


async def test_no_explanation_has_a_host_name_that_a_page_can_rebind(port: int) -> None:
    answer = await get(port, "http://rebound.example.com/orders/7", EXPLAIN)

    assert answer.json()["code"] == "no_pod_ready"

"""The header ``kubefox-explain: 1`` on real requests."""

from __future__ import annotations

from collections.abc import AsyncIterator

import msgspec
import pytest

from adapters.http.explaining import Explainer
from adapters.http.server import HttpAdapter
from fox import Context, Kit
from model.errors import InvalidRequest
from routing.explain import Explanation
from routing.selectors import Source
from tests.adapters.http.raw import Answer, ask
from tests.support.data_plane import SETTINGS, DataPlane, digest, open_data_plane
from tests.support.nats import NatsServer

NOBODY = msgspec.structs.replace(SETTINGS, explain_from="")
ASKS = "kubefox-explain: 1"


async def never(_ctx: Context) -> str:
    raise AssertionError("a request that asks why is not served")


@pytest.fixture
async def plane(own_nats_server: NatsServer) -> AsyncIterator[DataPlane]:
    web = Kit()
    web.route("Path(`/{{.Vars.at}}/{id}`) && Method(`GET`)")(never)
    web.route("PathPrefix(`/`)", priority=-1)(never)
    async with open_data_plane(own_nats_server.url) as plane:
        await plane.virtual_environment("team-a", at="orders")
        await plane.deploy("v1", {"web": web})
        await plane.release("team-a", "v1")
        yield plane


@pytest.fixture
async def port(plane: DataPlane) -> AsyncIterator[int]:
    async with HttpAdapter(plane.broker, SETTINGS) as adapter:
        yield adapter.port


async def get(port: int, target: str, *headers: str, method: str = "GET") -> Answer:
    lines = "".join(f"{line}\r\n" for line in (f"{method} {target} HTTP/1.1", "host: x", *headers))
    return await ask(port, f"{lines}\r\n".encode())


async def explained(port: int, target: str, *headers: str, method: str = "GET") -> Explanation:
    answer = await get(port, target, *headers, method=method)
    assert answer.status == 200
    assert answer.header("content-type").startswith("application/json")
    return msgspec.json.decode(answer.body, type=Explanation)


async def test_a_request_that_asks_is_told_where_it_would_go(port: int) -> None:
    found = await explained(port, "/orders/7", ASKS)

    assert found.winner is not None
    assert found.winner.deployment == "v1"
    assert found.winner.params == {"id": "7"}
    assert found.winner.resolved == "Path(`/orders/{id}`) && Method(`GET`)"
    assert [(node.component, node.hash) for node in found.graph] == [("web", digest("v1"))]
    assert [each.wins for each in found.candidates] == [True, False]


async def test_each_candidate_that_refused_names_its_predicate(port: int) -> None:
    found = await explained(port, "/orders/7", ASKS, method="DELETE")

    assert found.candidates[0].refused_by == "Method(`GET`)"
    assert found.winner == found.candidates[1]


async def test_selectors_are_told_with_where_they_were_found(port: int) -> None:
    found = await explained(port, "/orders/7?kf-dep=v1", "kf-ve: team-a", ASKS)

    assert found.selectors.deployment_source is Source.QUERY
    assert found.selectors.virtual_environment_source is Source.HEADER
    assert found.winner is not None
    assert found.winner.release == ""


async def test_a_request_that_would_fail_is_told_why(port: int) -> None:
    found = await explained(port, "/orders/7?kf-dep=v9&kf-ve=team-a", ASKS)

    assert found.status == 404
    assert found.error is not None
    assert found.error.code == "deployment_not_found"
    assert found.winner is None


async def test_a_selector_that_cannot_be_read_is_an_error_as_ever(port: int) -> None:
    assert (await get(port, "/?kf-dep=", ASKS)).status == 400


async def test_for_those_who_may_not_ask_the_header_means_nothing(plane: DataPlane) -> None:
    async with HttpAdapter(plane.broker, NOBODY) as adapter:
        answer = await get(adapter.port, "/orders/7", ASKS)

    assert answer.status == 503
    assert answer.json()["code"] == "no_pod_ready"


async def test_only_1_asks(port: int) -> None:
    assert (await get(port, "/orders/7", "kubefox-explain: 0")).status == 503


@pytest.mark.parametrize(
    ("networks", "remote", "may"),
    [
        ("127.0.0.0/8,::1/128", "127.0.0.9", True),
        ("127.0.0.0/8,::1/128", "::1", True),
        ("10.0.0.0/8 , fe80::/10", "fe80::1%eth0", True),
        ("10.0.0.0/8", "::ffff:10.1.2.3", True),
        ("10.0.0.0/8", "127.0.0.1", False),
        ("10.0.0.7", "10.0.0.7", True),
        ("", "127.0.0.1", False),
        ("0.0.0.0/0", "", False),
    ],
)
def test_the_networks_decide_who_may_ask(networks: str, remote: str, *, may: bool) -> None:
    assert Explainer(networks).allows(remote) is may


def test_what_is_no_network_is_told() -> None:
    with pytest.raises(InvalidRequest, match=r"FOX_EXPLAIN_FROM.*office"):
        Explainer("127.0.0.0/8,office")

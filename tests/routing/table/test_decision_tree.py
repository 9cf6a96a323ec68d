"""The decision tree leaves few candidates."""

from __future__ import annotations

from kubefox.component import Route
from routing.language.facts import Facts
from routing.request import GenesisRequest
from routing.table.matcher import ComponentRoutes, compile_table


def test_a_table_of_a_thousand_routes_has_few_candidates() -> None:
    routes = [Route(id=at, rule=f"Path(`/app/{at}/{{id}}`)") for at in range(1_000)]
    routes += [
        Route(id=1_000, rule="Path(`/app/{x}/{y}`)"),
        Route(id=1_001, rule="PathPrefix(`/app`)"),
        Route(id=1_002, rule="Host(`h.example.com`) && Path(`/h/{:x}/{a}`)"),
    ]
    table = compile_table([ComponentRoutes("c", tuple(routes))], [{}])

    def candidates(path: str, host: str = "") -> int:
        return len(table.candidates(Facts(GenesisRequest(path=path, host=host))))

    assert candidates("/app/7/x") <= 3
    assert candidates("/app/unknown/x") <= 3
    assert candidates("/app") <= 3
    assert candidates("/other") <= 3
    assert candidates("/h/x/y", "h.example.com") <= 3


def test_methods_and_hosts_split_routes_of_one_path() -> None:
    methods = ("GET", "PUT", "POST", "DELETE", "HEAD")
    hosts = [f"h{number}.example.com" for number in range(20)]
    rules = [f"Method(`{method}`) && Path(`/x`)" for method in methods]
    rules += [f"Host(`{host}`) && Path(`/y`)" for host in hosts]
    routes = tuple(Route(id=at, rule=rule) for at, rule in enumerate(rules))
    table = compile_table([ComponentRoutes("c", routes)], [{}])

    request = GenesisRequest(path="/x", method="POST")
    assert len(table.candidates(Facts(request))) == 1
    request = GenesisRequest(path="/y", host=hosts[3])
    assert len(table.candidates(Facts(request))) <= 3

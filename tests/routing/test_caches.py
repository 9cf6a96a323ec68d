"""What is compiled is shared, bounded, and gone when nobody uses it."""

from __future__ import annotations

import gc
import weakref

from model.component import Route, Value
from routing import facts
from routing.bindings import Target
from routing.facts import Facts
from routing.matcher import ComponentRoutes, Match, Table, compile_table
from routing.recent import Recent
from routing.request import GenesisRequest
from routing.resolver import resolve
from routing.ruleset import rule_set
from routing.selectors import extract
from routing.snapshot import Snapshot
from tests.routing.world import World, ask, definition


def test_recent_keeps_at_least_one_generation_and_at_most_two() -> None:
    recent: Recent[int, str] = Recent(3)

    for number in range(10):
        recent.put(number, str(number))

    assert 3 <= len(recent) <= 6
    assert recent.get(9) == "9"
    assert recent.get(0) is None


def test_recent_keeps_what_is_used() -> None:
    recent: Recent[int, str] = Recent(3)
    recent.put(0, "used")

    for number in range(1, 50):
        recent.put(number, str(number))
        assert recent.get(0) == "used"


def test_equal_rules_and_values_share_one_table() -> None:
    world = World()
    world.environment("dev", greeting="hello")
    world.virtual("team-a", subPath="x")
    world.virtual("team-b", subPath="x", greeting="bye")
    world.deploy("v1", definition("ui", "Path(`/{{.Vars.subPath}}`)"))
    world.deploy("v2", definition("ui", "Path(`/{{.Vars.subPath}}`)"), version="2")

    tables = {
        id(world.snapshot.bindings.explicit(name, virtual, world.snapshot.records).table)
        for name in ("v1", "v2")
        for virtual in ("team-a", "team-b")
    }

    assert len(tables) == 1


def test_environments_of_other_words_share_all_but_the_words() -> None:
    rules = rule_set([definition("ui", "Path(`/{{.Vars.a}}/{id}`)", "Path(`/{{.Vars.b}}/x`)")])
    first, second = (rules.table([{"a": word, "b": 7}]) for word in ("one", "two"))

    def match(table: Table, path: str) -> Match:
        found = table.match(Facts(GenesisRequest(path=path)))
        assert found is not None
        return found

    assert match(first, "/one/9") == (match(second, "/two/9")[0], {"id": "9"})
    assert match(first, "/7/x")[0] is match(second, "/7/x")[0]
    assert first.match(Facts(GenesisRequest(path="/two/9"))) is None
    assert [each.resolved for each in first.routes] == ["Path(`/one/{id}`)", "Path(`/7/x`)"]


def test_the_lengths_of_words_decide_which_route_wins() -> None:
    rules = rule_set([definition("ui", "Path(`/{{.Vars.a}}/{x}`)", "Path(`/{y}/{{.Vars.b}}`)")])

    def winner(a: str, b: str) -> int:
        found = rules.table([{"a": a, "b": b}]).match(Facts(GenesisRequest(path=f"/{a}/{b}")))
        assert found is not None
        return found[0].route.id

    assert winner("long", "b") == 0
    assert winner("a", "longer") == 1
    assert winner("same", "size") == 0


def test_a_value_that_is_no_word_gets_a_table_of_its_own() -> None:
    rules = rule_set([definition("ui", "Path(`/{{.Vars.a}}/{id}`)")])

    values: dict[str, Value] = {"/two/9": ["one", "two"], "/one/two/9": "one/two", "/n/9": "%6E"}
    for path, value in values.items():
        assert rules.table([{"a": value}]).match(Facts(GenesisRequest(path=path)))


def test_a_table_goes_with_its_last_binding() -> None:
    rules = rule_set([definition("ui", "Path(`/gone`)")])
    table = weakref.ref(rules.table([{}]))
    gc.collect()

    assert table() is None


def test_bindings_are_bounded_and_answers_stay_right() -> None:
    world = World()
    world.snapshot = Snapshot.empty(bindings=2)
    world.environment("dev")
    world.deploy("v1", definition("ui", "Path(`/{{.Vars.subPath}}`)"))
    for number in range(10):
        world.virtual(f"t{number}", subPath=f"s{number}")

    for _ in range(2):
        for number in range(10):
            decision = ask(world.snapshot, f"/s{number}?kf-dep=v1&kf-ve=t{number}")
            assert decision.target.context.virtual_environment == f"t{number}"

    assert len(world.snapshot.bindings._explicit) <= 4


def test_a_table_of_a_thousand_routes_asks_only_a_few() -> None:
    routes = [Route(id=at, rule=f"Path(`/app/{at}/{{id}}`)") for at in range(1_000)]
    routes += [
        Route(id=1_000, rule="Path(`/app/{x}/{y}`)"),
        Route(id=1_001, rule="PathPrefix(`/app`)"),
        Route(id=1_002, rule="Host(`h.example.com`) && Path(`/h/{:x}/{a}`)"),
    ]
    table = compile_table([ComponentRoutes("c", tuple(routes))], [{}])

    def asked(path: str, host: str = "") -> int:
        return len(table.candidates(Facts(GenesisRequest(path=path, host=host))))

    assert asked("/app/7/x") <= 3
    assert asked("/app/unknown/x") <= 3
    assert asked("/app") <= 3
    assert asked("/other") <= 3
    assert asked("/h/x/y", "h.example.com") <= 3


def test_methods_and_hosts_part_what_paths_do_not() -> None:
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


def test_a_host_longer_than_any_name_is_read_and_not_remembered() -> None:
    before = facts._known_host.cache_info().currsize

    long = Facts(GenesisRequest(host="A" * 60_000 + ":80"))

    assert long.host == "a" * 60_000
    assert facts._known_host.cache_info().currsize == before


def test_a_binding_that_is_asked_for_by_one_query_is_kept_though_others_come_and_go() -> None:
    world = World()
    world.environment("dev")
    world.virtual("team-a")
    world.snapshot = Snapshot.empty(4).apply(world.changes)
    for number in range(40):
        world.deploy(f"v{number}", definition("ui", "PathPrefix(`/`)"))

    def target(number: int) -> Target:
        selectors, _, _ = extract(f"kf-dep=v{number}&kf-ve=team-a", ())
        return resolve(GenesisRequest(), selectors, world.snapshot).target

    hot = target(0)
    for number in range(1, 40):
        target(number)
        assert target(0) is hot
    world.environment("another")

    assert target(0) is hot

"""A snapshot depends only on its records, not on the order of the changes."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from hypothesis import given
from hypothesis import strategies as st

from kubefox.errors import FoxError
from kubefox.records import (
    Change,
    component_key,
    deployment_key,
    environment_key,
    manifest_key,
    release_key,
    virtual_environment_key,
)
from routing.snapshot.snapshot import Snapshot
from tests.routing.world import APP, UI, RoutingWorld, ask, definition, digest_of

API = definition("api-server", "PathPrefix(`/{{.Vars.subPath}}/api`)", default=True)
URLS = [
    f"/{sub}/{rest}{selectors}"
    for sub in ("a", "b", "c", "dev", "static")
    for rest in ("orders/1", "api/x")
    for selectors in (
        "",
        "?kf-ve=team-a",
        "?kf-ve=team-b",
        "?kf-dep=v1&kf-ve=team-a",
        "?kf-dep=v2&kf-ve=team-b",
    )
]


def answers(snapshot: Snapshot) -> list[object]:
    """Return the decision or error for every URL."""
    release_index = snapshot.release_index
    found: list[object] = [
        snapshot.versions,
        sorted(release_index.scheduled),
        sorted(release_index.lacking_values),
    ]
    for url in URLS:
        try:
            decision = ask(snapshot, url)
        except FoxError as error:
            found.append(error.code)
        else:
            target = decision.target
            found.append((target.context, target.component, target.route, decision.params))
    return found


def test_an_unknown_kind_only_changes_the_revision() -> None:
    snapshot = Snapshot.empty().apply([Change(key="platform.x", revision=7, record=None)])

    assert snapshot.revision == 7


def test_a_replayed_older_change_is_ignored() -> None:
    world = RoutingWorld()
    world.environment("dev", subPath="a")
    world.environment("dev", subPath="b")
    world.put(environment_key("dev"), None)
    before = world.snapshot

    after = before.apply(world.changes)

    assert after.revision == before.revision
    assert "dev" not in after.environments


def test_tombstones_are_bounded() -> None:
    snapshot = Snapshot.empty(max_tombstones=10)
    gone = [Change(key=f"deployment.d{at}", revision=at, record=None) for at in range(1, 100)]

    for change in gone:
        snapshot = snapshot.apply([change])

    assert len(snapshot.records.tombstones) <= 10
    late = Change(key="deployment.d99", revision=98, record=RoutingWorld().deploy("d99", UI))
    assert "d99" not in snapshot.apply([late]).deployments


KEYS = [
    component_key(APP, "order-ui", digest_of("order-ui")),
    component_key(APP, "order-ui", digest_of("order-ui", "2")),
    component_key(APP, "api-server", digest_of("api-server")),
    component_key(APP, "api-server", digest_of("api-server", "2")),
    deployment_key("v1"),
    deployment_key("v2"),
    environment_key("dev"),
    virtual_environment_key("team-a"),
    virtual_environment_key("team-b"),
    release_key("team-a"),
    release_key("team-b"),
    manifest_key("team-a", "r1"),
    manifest_key("team-a", "r9"),
]


def history(choose: random.Random) -> list[Change]:
    """Return changes with increasing revisions of each key, some of them deletions."""
    world = RoutingWorld()
    world.environment("dev", subPath="dev")
    world.virtual("team-a", subPath="a")
    world.virtual("team-b")
    world.deploy("v1", UI, API)
    world.deploy("v2", UI, API, version="2")
    steps: list[Callable[[], object]] = [
        lambda: world.environment("dev", subPath=choose.choice(["dev", "b"])),
        lambda: world.environment("dev", greeting=choose.choice(["hello", "bye"])),
        lambda: world.virtual("team-a", subPath=choose.choice(["a", "b", "c"])),
        lambda: world.virtual("team-b"),
        lambda: world.virtual("team-b", subPath="b"),
        lambda: world.deploy("v1", UI, API, version=choose.choice(["1", "2"])),
        lambda: world.deploy("v2", *choose.choice([[UI], [API], [UI, API]])),
        lambda: release(world, "team-a", choose),
        lambda: release(world, "team-b", choose),
        lambda: freeze(world, choose),
        lambda: world.put(choose.choice(KEYS), None),
    ]
    for _ in range(choose.randrange(4, 25)):
        choose.choice(steps)()
    return world.changes


def release(world: RoutingWorld, virtual: str, choose: random.Random) -> None:
    name = choose.choice(["v1", "v2"])
    if name in world.snapshot.deployments:
        world.release(virtual, name, release_id=f"r{len(world.changes)}")


def freeze(world: RoutingWorld, choose: random.Random) -> None:
    if "v1" in world.snapshot.deployments:
        sub = choose.choice(["a", "c"])
        world.freeze("team-a", "v1", variables={"subPath": sub}, release_id=choose.choice("19"))


def interleaved(changes: Sequence[Change], choose: random.Random) -> list[Change]:
    """Return an order that a restarted watcher may receive: in order for each key, with replays."""
    by_key: dict[str, list[Change]] = {}
    for change in changes:
        by_key.setdefault(change.key, []).append(change)
    order = [change.key for change in changes]
    choose.shuffle(order)
    waiting = {key: iter(found) for key, found in by_key.items()}
    seen = [next(waiting[key]) for key in order]
    for _ in range(choose.randrange(4)):
        at = choose.randrange(len(seen))
        seen[at:at] = choose.sample(seen[:at], choose.randrange(at + 1))
    return seen


@given(st.integers(0, 2**32))
def test_every_order_of_changes_gives_the_same_decisions(seed: int) -> None:
    choose = random.Random(seed)  # noqa: S311 - the seed is Hypothesis's
    changes = history(choose)
    latest = {change.key: change for change in changes}
    expected = answers(Snapshot.empty().apply(latest.values()))

    one_by_one = Snapshot.empty()
    for change in interleaved(changes, choose):
        one_by_one = one_by_one.apply([change])
        if choose.random() < 0.2:
            answers(one_by_one)

    assert answers(one_by_one) == expected
    assert one_by_one.revision == changes[-1].revision


@given(st.integers(0, 2**32))
def test_a_restarted_watcher_catches_up(seed: int) -> None:
    choose = random.Random(seed)  # noqa: S311 - the seed is Hypothesis's
    changes = history(choose)
    seen = changes[: choose.randrange(len(changes))]
    snapshot = Snapshot.empty().apply(seen)
    answers(snapshot)

    latest = {change.key: change for change in changes}
    snapshot = snapshot.apply(latest.values())

    assert answers(snapshot) == answers(Snapshot.empty().apply(latest.values()))

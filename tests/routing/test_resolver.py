"""Selection of a deployment by selectors and releases, also with missing records."""

from __future__ import annotations

import pytest

from kubefox.component import Route
from kubefox.errors import (
    DeploymentNotFound,
    EnvironmentNotFound,
    InvalidContext,
    InvalidSelector,
    ReleaseNotFound,
    RouteNotFound,
    Unavailable,
)
from kubefox.records import (
    component_key,
    deployment_key,
    environment_key,
    release_key,
    virtual_environment_key,
)
from kubefox.subjects import component as component_subject
from tests.routing.world import APP, UI, RoutingWorld, ask, definition, digest_of

V1 = "?kf-dep=order-app-v1&kf-ve=team-a"


@pytest.fixture
def world() -> RoutingWorld:
    world = RoutingWorld()
    world.environment("dev", subPath="dev", greeting="hello")
    world.virtual("team-a", subPath="a")
    world.virtual("team-b", subPath="b")
    world.deploy("order-app-v1", UI)
    world.deploy("order-app-v2", UI, version="2")
    return world


def test_both_selectors_select_the_deployment_with_live_values(world: RoutingWorld) -> None:
    decision = world.ask(f"/a/orders/7{V1}")

    target = decision.target
    assert decision.params == {"id": "7"}
    assert (target.component, target.hash, target.route) == ("order-ui", digest_of("order-ui"), 0)
    assert target.subject == component_subject(APP, "order-ui", digest_of("order-ui"))
    assert target.context.deployment == "order-app-v1"
    context = target.context
    assert (context.deployment, context.virtual_environment) == ("order-app-v1", "team-a")
    assert (context.release, context.manifest) == ("", "")
    snapshot = world.snapshot
    assert context.deployment_revision == snapshot.revision_of(deployment_key("order-app-v1"))
    assert context.virtual_environment_revision == snapshot.revision_of(
        virtual_environment_key("team-a")
    )
    assert context.environment_revision == snapshot.revision_of(environment_key("dev"))


def test_the_same_revisions_give_the_same_target_object(world: RoutingWorld) -> None:
    first = world.ask(f"/a/orders/7{V1}").target
    world.deploy("order-app-v3", UI, version="3")

    assert world.ask(f"/a/orders/8{V1}").target is first


def test_changed_values_give_a_new_context_and_new_routes(world: RoutingWorld) -> None:
    first = world.ask(f"/a/orders/7{V1}").target

    world.virtual("team-a", subPath="z")

    assert world.ask(f"/z/orders/7{V1}").target.context != first.context
    with pytest.raises(RouteNotFound):
        world.ask(f"/a/orders/7{V1}")


def test_an_old_snapshot_keeps_its_decisions(world: RoutingWorld) -> None:
    held = world.snapshot
    world.virtual("team-a", subPath="z")
    world.ask(f"/z/orders/7{V1}")

    assert ask(held, f"/a/orders/7{V1}").params == {"id": "7"}


def test_path_prefix_captures_the_rest_of_the_path(world: RoutingWorld) -> None:
    assert world.ask(f"/static/css/a%20b.css{V1}").params == {"path_suffix": "/css/a b.css"}
    assert world.ask(f"/static{V1}").params == {"path_suffix": "/"}


def test_a_deployment_alone_is_refused_with_the_right_url(world: RoutingWorld) -> None:
    with pytest.raises(InvalidSelector, match=r"\?kf-dep=order-app-v1&kf-ve="):
        world.ask("/a/orders/7?kf-dep=order-app-v1")


def test_a_deployment_is_found_even_without_route_only_by_its_name(world: RoutingWorld) -> None:
    with pytest.raises(DeploymentNotFound, match="order-app-v9"):
        world.ask("/a/orders/7?kf-dep=order-app-v9&kf-ve=team-a")
    with pytest.raises(RouteNotFound):
        world.ask(f"/nothing{V1}")


def test_an_unknown_environment_is_named(world: RoutingWorld) -> None:
    with pytest.raises(EnvironmentNotFound, match="team-x"):
        world.ask("/a/orders/7?kf-dep=order-app-v1&kf-ve=team-x")
    with pytest.raises(EnvironmentNotFound, match="team-x"):
        world.ask("/a/orders/7?kf-ve=team-x")


def test_a_virtual_environment_alone_selects_its_release(world: RoutingWorld) -> None:
    world.release("team-a", "order-app-v2")
    world.release("team-b", "order-app-v1", release_id="r2")

    target = world.ask("/static/x?kf-ve=team-a").target

    assert target.context.deployment == "order-app-v2"
    assert target.context.release == "r1"
    with pytest.raises(RouteNotFound):
        world.ask("/b/orders/7?kf-ve=team-a")


def test_an_environment_without_active_release_is_404(world: RoutingWorld) -> None:
    with pytest.raises(ReleaseNotFound, match="team-a"):
        world.ask("/a/orders/7?kf-ve=team-a")


def test_a_plain_url_finds_the_environment_by_its_route(world: RoutingWorld) -> None:
    with pytest.raises(RouteNotFound):
        world.ask("/a/orders/7")

    world.release("team-a", "order-app-v1")
    world.release("team-b", "order-app-v2", release_id="r2")

    assert world.ask("/a/orders/7").target.context.virtual_environment == "team-a"
    assert world.ask("/b/orders/7").target.context.deployment == "order-app-v2"


def test_between_equal_routes_the_most_recent_release_wins(world: RoutingWorld) -> None:
    world.release("team-a", "order-app-v1", at_s=10)
    world.release("team-b", "order-app-v2", release_id="r2", at_s=20)
    assert world.ask("/static/x").target.context.virtual_environment == "team-b"

    world.release("team-a", "order-app-v1", release_id="r3", at_s=30)
    assert world.ask("/static/x").target.context.virtual_environment == "team-a"


def test_between_routes_of_one_release_names_decide(world: RoutingWorld) -> None:
    world.deploy("shop-v1", definition("ui", "PathPrefix(`/static`)"), app="shop")
    world.release("team-a", "order-app-v1", "shop-v1")

    assert world.ask("/static/x").target.component == "order-ui"
    world.deploy("shop-v2", definition("a-ui", "PathPrefix(`/static`)"), app="shop")
    world.release("team-a", "order-app-v1", "shop-v2", release_id="r2")
    assert world.ask("/static/x").target.component == "a-ui"


def test_rank_beats_recency(world: RoutingWorld) -> None:
    world.deploy(
        "longer", definition("order-ui", "PathPrefix(`/static`) && Method(`GET`)"), version="long"
    )
    world.release("team-a", "longer", at_s=10)
    world.release("team-b", "order-app-v2", release_id="r2", at_s=20)

    assert world.ask("/static/x").target.context.deployment == "longer"
    assert world.ask("/static/x", "PUT").target.context.deployment == "order-app-v2"


def test_within_a_release_ties_are_decided_by_component_and_route(world: RoutingWorld) -> None:
    world.deploy(
        "ties",
        definition("b", Route(id=0, rule="Path(`/x`)"), Route(id=1, rule="Path(`/x`)")),
        definition("a", Route(id=0, rule="Path(`/x`)"), Route(id=1, rule="Path(`/x`)")),
    )

    target = world.ask("/x?kf-dep=ties&kf-ve=team-a").target

    assert (target.component, target.route) == ("a", 0)


def test_a_manifest_freezes_deployment_and_values(world: RoutingWorld) -> None:
    world.freeze("team-a", "order-app-v1", variables={"subPath": "frozen"})
    world.virtual("team-a", subPath="changed")
    world.deploy("order-app-v1", UI, version="9")

    target = world.ask("/frozen/orders/1").target

    assert target.hash == digest_of("order-ui", "1")
    assert target.context.manifest == "r1"
    assert target.context.deployment_revision == 0
    assert target.context.virtual_environment_revision == 0
    assert target.context.environment_revision == 0


def test_a_live_release_follows_the_environment_and_the_deployment(world: RoutingWorld) -> None:
    world.release("team-a", "order-app-v1")
    world.virtual("team-a")
    assert world.ask("/dev/orders/1").target.hash == digest_of("order-ui", "1")

    world.environment("dev", subPath="moved")
    world.deploy("order-app-v1", UI, version="9")

    assert world.ask("/moved/orders/1").target.hash == digest_of("order-ui", "9")
    with pytest.raises(RouteNotFound):
        world.ask("/dev/orders/1")


def test_a_route_without_its_variable_cannot_match(world: RoutingWorld) -> None:
    world.environment("bare")
    world.virtual("team-c", "bare")
    url = "?kf-dep=order-app-v1&kf-ve=team-c"

    assert world.ask(f"/static/x{url}").params == {"path_suffix": "/x"}
    with pytest.raises(InvalidContext, match="subPath"):
        world.ask(f"/a/orders/1{url}")


def test_a_release_without_its_variable_reports_the_variable(world: RoutingWorld) -> None:
    world.release("team-a", "order-app-v1")
    world.virtual("team-a")
    world.environment("dev")

    with pytest.raises(InvalidContext, match="subPath"):
        world.ask("/a/orders/1?kf-ve=team-a")
    with pytest.raises(RouteNotFound):
        world.ask("/a/orders/1")


def test_a_withdrawn_release_serves_no_url(world: RoutingWorld) -> None:
    world.release("team-a", "order-app-v1")
    world.ask("/a/orders/1")

    world.put(release_key("team-a"), None)

    with pytest.raises(RouteNotFound):
        world.ask("/a/orders/1")


@pytest.mark.parametrize(
    "key",
    [
        component_key(APP, "order-ui", digest_of("order-ui")),
        deployment_key("order-app-v1"),
        environment_key("dev"),
    ],
)
def test_a_release_is_unavailable_while_a_record_is_missing(world: RoutingWorld, key: str) -> None:
    world.release("team-a", "order-app-v1")
    record = next(change.record for change in world.changes if change.key == key)

    world.put(key, None)
    for url in ("/a/orders/1", "/a/orders/1?kf-ve=team-a"):
        with pytest.raises(Unavailable):
            world.ask(url)

    world.put(key, record)
    assert world.ask("/a/orders/1").params == {"id": "1"}


def test_a_missing_manifest_is_unavailable(world: RoutingWorld) -> None:
    world.freeze("team-a", "order-app-v1", variables={"subPath": "a"})
    manifest = world.changes[-2]

    world.put(manifest.key, None)
    with pytest.raises(Unavailable, match="manifest"):
        world.ask("/a/orders/1")

    world.put(manifest.key, manifest.record)
    assert world.ask("/a/orders/1").target.context.manifest == "r1"


def test_a_deployment_without_its_components_is_unavailable(world: RoutingWorld) -> None:
    world.ask(f"/a/orders/1{V1}")

    world.put(component_key(APP, "order-ui", digest_of("order-ui")), None)

    with pytest.raises(Unavailable, match="order-ui"):
        world.ask(f"/a/orders/1{V1}")


def test_a_virtual_environment_without_environment_is_unavailable(world: RoutingWorld) -> None:
    world.virtual("orphan", "nowhere")

    with pytest.raises(Unavailable, match="nowhere"):
        world.ask("/static/x?kf-dep=order-app-v1&kf-ve=orphan")


def test_a_release_of_a_deleted_virtual_environment_is_unavailable(world: RoutingWorld) -> None:
    world.release("team-a", "order-app-v1")

    world.put(virtual_environment_key("team-a"), None)

    with pytest.raises(Unavailable):
        world.ask("/a/orders/1")
    with pytest.raises(EnvironmentNotFound):
        world.ask("/a/orders/1?kf-ve=team-a")

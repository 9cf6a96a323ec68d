"""Requests select only what the policy allows: all else gets one answer, for the same work."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType

import pytest

from kubefox.deployment import Deployment
from kubefox.environment import Environment, VirtualEnvironment, selection_of
from kubefox.errors import DeploymentNotFound, EnvironmentNotFound, FoxError, ReleaseNotFound
from kubefox.records import environment_key, virtual_environment_key
from kubefox.selection import Access, Selection, granted_access
from kubefox.steps import finish
from routing.explain import explain
from routing.request import GenesisRequest
from routing.resolver import Decision, resolve
from routing.selectors import extract
from tests.routing.world import RoutingWorld, definition

WEB = definition("web", "PathPrefix(`/`)")
RELEASED = "no virtual environment is named 'prod', or this request may select only"


def ask(world: RoutingWorld, query: str, access: Access = Access.OPEN) -> Decision:
    selectors, rest, headers = extract(query, ())
    return resolve(GenesisRequest(query=rest, headers=headers), selectors, world.snapshot, access)


def refusal(world: RoutingWorld, query: str, access: Access) -> tuple[str, str]:
    with pytest.raises(FoxError) as refused:
        ask(world, query, access)
    return refused.value.code, refused.value.detail


@pytest.fixture
def world() -> RoutingWorld:
    """``prod`` has released v1; v2 is deployed; ``qa`` has no release."""
    world = RoutingWorld()
    world.environment()
    for name in ("v1", "v2"):
        world.deploy(name, WEB, version=name)
    world.virtual("prod")
    world.virtual("qa")
    world.release("prod", "v1")
    return world


def mark(
    world: RoutingWorld,
    name: str,
    *,
    production: bool = False,
    selection: Selection | None = None,
) -> None:
    record = VirtualEnvironment(
        name=name, environment="dev", production=production, selection=selection
    )
    world.put(virtual_environment_key(name), record)


def test_an_outsider_gets_one_answer_for_every_name(world: RoutingWorld) -> None:
    for virtual_environment in ("prod", "qa", "missing"):
        answers = {
            refusal(world, f"kf-dep={deployment}&kf-ve={virtual_environment}", Access.RELEASED)
            for deployment in ("v2", "missing")
        }
        assert len(answers) == 1
        code, detail = answers.pop()
        assert code == "environment_not_found"
        assert detail.replace(virtual_environment, "prod").startswith(RELEASED)


def test_an_outsider_does_not_learn_which_virtual_environments_have_no_release(
    world: RoutingWorld,
) -> None:
    unreleased, missing = (
        refusal(world, f"kf-ve={name}", Access.RELEASED) for name in ("qa", "xx")
    )

    assert unreleased[0] == missing[0]
    assert unreleased[1].replace("qa", "xx") == missing[1]


def test_an_outsider_may_select_what_is_released(world: RoutingWorld) -> None:
    by_release = ask(world, "kf-ve=prod", Access.RELEASED)
    by_name = ask(world, "kf-dep=v1&kf-ve=prod", Access.RELEASED)

    assert by_name.target is by_release.target
    assert by_name.target.context.release == "r1"


def test_a_released_deployment_has_the_frozen_values_for_an_outsider(world: RoutingWorld) -> None:
    world.freeze("prod", "v1", variables={"at": "frozen"})

    outside = ask(world, "kf-dep=v1&kf-ve=prod", Access.RELEASED).target.context
    inside = ask(world, "kf-dep=v1&kf-ve=prod").target.context

    assert (outside.manifest, inside.manifest) == ("r1", "")


def test_the_decision_for_one_listener_is_not_kept_for_another(world: RoutingWorld) -> None:
    query = "kf-dep=v2&kf-ve=prod"
    ask(world, query)

    with pytest.raises(EnvironmentNotFound):
        ask(world, query, Access.RELEASED)
    assert ask(world, query).target.context.deployment == "v2"


def test_names_that_do_not_exist_are_named_where_all_may_be_selected(world: RoutingWorld) -> None:
    with pytest.raises(DeploymentNotFound, match="missing"):
        ask(world, "kf-dep=missing&kf-ve=qa")
    with pytest.raises(ReleaseNotFound, match="qa"):
        ask(world, "kf-ve=qa")


def test_production_is_released_on_every_listener(world: RoutingWorld) -> None:
    ask(world, "kf-dep=v2&kf-ve=prod")
    mark(world, "prod", production=True)

    for access in (Access.RELEASED, Access.OPEN, Access.SIGNED):
        answers = {
            refusal(world, f"kf-dep={deployment}&kf-ve=prod", access)
            for deployment in ("v2", "missing")
        }
        assert len(answers) == 1
        assert ask(world, "kf-dep=v1&kf-ve=prod", access).target.context.release == "r1"


def test_the_environment_of_a_virtual_environment_may_be_production(world: RoutingWorld) -> None:
    world.put(environment_key("dev"), Environment(name="dev", production=True))

    with pytest.raises(EnvironmentNotFound):
        ask(world, "kf-dep=v2&kf-ve=qa", Access.SIGNED)


def test_a_signed_virtual_environment_needs_a_share(world: RoutingWorld) -> None:
    mark(world, "qa", selection=Selection.SIGNED)

    with pytest.raises(EnvironmentNotFound):
        ask(world, "kf-dep=v2&kf-ve=qa", Access.OPEN)
    assert ask(world, "kf-dep=v2&kf-ve=qa", Access.SIGNED).target.context.deployment == "v2"


@pytest.mark.parametrize(
    ("listener", "share", "access"),
    [
        (Selection.OPEN, False, Access.OPEN),
        (Selection.OPEN, True, Access.SIGNED),
        (Selection.SIGNED, False, Access.RELEASED),
        (Selection.SIGNED, True, Access.SIGNED),
        (Selection.RELEASED, False, Access.RELEASED),
        (Selection.RELEASED, True, Access.RELEASED),
    ],
)
def test_the_listener_grants_access(listener: Selection, *, share: bool, access: Access) -> None:
    assert granted_access(listener, has_share=share) is access


def test_the_stricter_policy_of_both_environments_counts() -> None:
    def policy(outer: Selection | None, inner: Selection | None) -> Selection:
        environment = Environment(name="e", selection=outer)
        virtual = VirtualEnvironment(name="v", environment="e", selection=inner)
        return selection_of(environment, virtual)

    assert policy(None, None) is Selection.OPEN
    assert policy(Selection.SIGNED, Selection.OPEN) is Selection.SIGNED
    assert policy(Selection.SIGNED, Selection.RELEASED) is Selection.RELEASED


def test_the_explanation_names_the_policy_and_keeps_the_token(world: RoutingWorld) -> None:
    mark(world, "qa", selection=Selection.SIGNED)
    selectors, _, _ = extract("kf-dep=v2&kf-ve=qa&kf-share=secret", ())

    found = finish(explain(GenesisRequest(), selectors, world.snapshot))

    assert found.selection is Selection.SIGNED
    assert found.status == 404
    assert found.candidates == ()
    assert found.selectors.share is None
    assert selectors.share == "secret"


def calls_of(call: Callable[[], object]) -> list[str]:
    """Return the functions that a call has called, in their order."""
    called = []

    def note(frame: FrameType, event: str, _argument: object) -> None:
        if event == "call":
            called.append(frame.f_code.co_qualname)

    sys.setprofile(note)
    try:
        call()
    finally:
        sys.setprofile(None)
    return called


def test_names_that_exist_cost_an_outsider_the_same_work(world: RoutingWorld) -> None:
    world.put("deployment.big", Deployment(name="big", app="a", components={}))

    def work(query: str) -> list[str]:
        selectors, rest, headers = extract(query, ())
        request = GenesisRequest(query=rest, headers=headers)

        def attempt() -> None:
            try:
                resolve(request, selectors, world.snapshot, Access.RELEASED)
            except EnvironmentNotFound:
                return
            raise AssertionError(query)

        return calls_of(attempt)

    exists, missing = work("kf-dep=v2&kf-ve=qa"), work("kf-dep=xx&kf-ve=xx")
    of_release = [work(f"kf-dep={name}&kf-ve=prod") for name in ("v2", "xx", "big")]

    assert exists == missing
    assert of_release[0] == of_release[1] == of_release[2]
    assert work("kf-ve=qa") == work("kf-ve=xx")


def test_a_refused_selection_makes_no_binding(world: RoutingWorld) -> None:
    with pytest.raises(EnvironmentNotFound):
        ask(world, "kf-dep=v2&kf-ve=qa", Access.RELEASED)

    assert len(world.snapshot.route_bindings.cache) == 0


def test_the_token_of_a_share_is_removed_from_the_request() -> None:
    selectors, query, headers = extract(
        "a=1&kf-share=t", (("cookie", "x=1; kf-share=u"), ("kubefox-share", "v"))
    )

    assert (selectors.share, query, headers) == ("t", "a=1", (("cookie", "x=1"),))

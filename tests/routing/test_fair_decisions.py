"""Releases share the plain URLs, so the regular expressions of one never take those of another."""

from __future__ import annotations

import pytest

from kubefox.component import Route
from kubefox.errors import HeadersTooLarge
from routing.language.facts import MAX_MATCH_WORK
from routing.language.regex import Regex, Spend
from routing.request import GenesisRequest
from routing.resolver import (
    CHEAP_WORK,
    MAX_EXPENSIVE_WORK,
    MAX_RELEASES_AT_ONCE,
    ManyReleases,
    resolve,
)
from routing.selectors import extract
from tests.routing.world import RoutingWorld, definition

# 60,000 letters × at least 600 instructions are over the limit of a whole request.
EXPENSIVE = "Header(`x`, `{.*a[ab]{150}b}`)"
LONG = "ab" * 30_000
# With 20,000 letters more work than a release has for a start, and less than a request may have.
COSTLY = "Header(`x`, `{[ab]*c}`)"


@pytest.fixture
def world() -> RoutingWorld:
    world = RoutingWorld()
    world.environment()
    return world


def release(world: RoutingWorld, name: str, *rules: str | Route) -> None:
    world.virtual(name)
    world.deploy(f"{name}-v1", definition(name, *rules), app=f"{name}-app")
    world.release(name, f"{name}-v1")


def test_an_expensive_rule_does_not_take_the_plain_urls_of_another_release(
    world: RoutingWorld,
) -> None:
    release(world, "neighbour", Route(id=0, rule=EXPENSIVE, priority=9))
    release(world, "mine", "PathPrefix(`/mine`)")

    assert world.ask("/mine/1", x=LONG).target.component == "mine"
    with pytest.raises(HeadersTooLarge):
        world.ask("/elsewhere", x=LONG)


def test_many_cheap_regular_expressions_of_others_do_not_take_a_plain_url(
    world: RoutingWorld,
) -> None:
    for number in range(200):
        release(world, f"preview-{number}", f"Header(`user-agent`, `{{.*preview-{number} .*}}`)")
    release(world, "mine", "PathPrefix(`/mine`)")
    browser = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0" * 2

    assert world.ask("/mine/1", user_agent=browser).target.component == "mine"
    assert world.ask("/", user_agent="a preview-7 b").target.component == "preview-7"


def test_the_rule_that_wins_stays_the_winner_however_much_work_others_have(
    world: RoutingWorld,
) -> None:
    release(world, "mine", "PathPrefix(`/mine`)")
    release(world, "longer", "PathPrefix(`/mine`) && Header(`x`, `{(ab)*}`)")
    alone = world.ask("/mine/1", x="ab" * 2_000).target.component
    for number in range(3):
        release(world, f"neighbour-{number}", EXPENSIVE)

    assert alone == "longer"
    assert world.ask("/mine/1", x="ab" * 2_000).target.component == "longer"


def test_a_release_that_cannot_decide_with_its_own_limit_does_not_take_part(
    world: RoutingWorld,
) -> None:
    # Without this, a long header would turn the refusal of the first rule into the second rule.
    release(world, "guarded", f"PathPrefix(`/`) && !{EXPENSIVE}", "PathPrefix(`/`)")
    release(world, "other", "Path(`/`)")

    assert world.ask("/", x=LONG).target.component == "other"
    with pytest.raises(HeadersTooLarge):
        world.ask("/guarded", x=LONG)
    with pytest.raises(HeadersTooLarge):
        world.ask("/guarded?kf-dep=guarded-v1&kf-ve=guarded", x=LONG)


def test_a_query_of_too_many_parameters_matters_only_to_releases_that_read_it(
    world: RoutingWorld,
) -> None:
    release(world, "neighbour", "Query(`a`, `1`)")
    release(world, "mine", "PathPrefix(`/mine`)")

    assert world.ask("/mine?" + "b=1&" * 2_000).target.component == "mine"


def test_all_releases_together_do_not_work_without_bound(
    world: RoutingWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(40):
        release(world, f"costly-{number}", f"PathPrefix(`/`) && {COSTLY}")
    release(world, "mine", "PathPrefix(`/mine`)")
    value = "ab" * 10_000
    works: list[int] = []
    matches = Regex.matches

    def measured(regex: Regex, text: str, spend: Spend) -> bool:
        is_match = matches(regex, text, spend)
        works.append(regex.instructions * len(text))
        return is_match

    monkeypatch.setattr(Regex, "matches", measured)
    found = world.ask("/mine", x=value)

    assert found.target.component == "mine"
    assert max(works) > CHEAP_WORK
    assert MAX_MATCH_WORK < sum(works) <= MAX_EXPENSIVE_WORK + MAX_MATCH_WORK


def test_a_decision_between_many_releases_is_made_in_steps(world: RoutingWorld) -> None:
    for number in range(MAX_RELEASES_AT_ONCE + 1):
        world.virtual(f"ve-{number}")
    world.deploy("v1", definition("main", "Header(`x`, `1`)"))
    for number in range(MAX_RELEASES_AT_ONCE + 1):
        world.release(f"ve-{number}", "v1")
    request, selectors = GenesisRequest(headers=(("x", "1"),)), extract("", ())[0]

    with pytest.raises(ManyReleases):
        resolve(request, selectors, world.snapshot)
    latest = world.ask("/", x="1").target.context.virtual_environment
    assert latest == f"ve-{MAX_RELEASES_AT_ONCE}"

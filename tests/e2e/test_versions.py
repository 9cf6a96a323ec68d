"""A request stays in its deployment and its virtual environment on every hop."""

import asyncio

import aiohttp
import pytest

from tests.e2e.order_app_platform import DEPLOYMENTS, OrderAppPlatform, is_within

pytestmark = pytest.mark.asyncio(loop_scope="session")

MIXED = 1_000
AT_A_TIME = 100
TEAMS = ("team-a", "team-b")


@pytest.mark.parametrize(
    ("deployment", "components"),
    [
        ("order-app-v1", {"order-ui", "api-server"}),
        ("order-app-v2", {"order-ui", "api-server"}),
        ("order-app-v3", {"order-ui", "api-server", "review"}),
    ],
)
async def test_an_explicit_url_is_served_by_the_components_of_its_deployment(
    world: OrderAppPlatform, deployment: str, components: set[str]
) -> None:
    page = await world.browser.get("team-a", deployment=deployment)

    assert is_within(page, await world.platform.versions(), deployment)
    assert set(page.parts) == components
    assert (page.environment, page.chosen_by) == ("team-a", "explicit URL")


async def test_a_thousand_mixed_requests_are_not_mixed_up(world: OrderAppPlatform) -> None:
    versions = await world.platform.versions()
    limit = asyncio.Semaphore(AT_A_TIME)
    wanted = [
        (DEPLOYMENTS[number % 3], TEAMS[number % 2], ("", "/fulfillment")[number % 5 == 0])
        for number in range(MIXED)
    ]

    async def is_right(deployment: str, team: str, path: str) -> bool:
        async with limit:
            page = await world.browser.get(team, path, deployment=deployment)
        if path:
            return all(
                text in page.text for text in (deployment, team, versions[deployment]["api-server"])
            )
        return is_within(page, versions, deployment) and page.environment == team

    right = await asyncio.gather(*(is_right(*request) for request in wanted))

    assert right.count(True) == MIXED


async def test_selectors_may_come_as_headers(world: OrderAppPlatform) -> None:
    selectors = {"kf-dep": "order-app-v2", "kf-ve": "team-a"}

    async with aiohttp.request("GET", world.browser.url("team-a"), headers=selectors) as response:
        text = await response.text()

    assert response.headers["kubefox-app-deployment"] == "order-app-v2"
    assert response.headers["kubefox-virtual-environment"] == "team-a"
    assert (await world.platform.versions())["order-app-v2"]["api-server"] in text


@pytest.mark.parametrize(
    ("query", "status", "named"),
    [
        ("kf-dep=order-app-v1", 400, "kf-ve"),
        ("kf-dep=order-app-v9&kf-ve=team-a", 404, "order-app-v9"),
        ("kf-dep=order-app-v1&kf-ve=team-z", 404, "team-z"),
        ("kf-dep=order-app-v1&kf-dep=order-app-v2&kf-ve=team-a", 400, "kf-dep"),
    ],
)
async def test_an_unknown_or_ambiguous_selector_is_an_error_that_names_it(
    world: OrderAppPlatform, query: str, status: int, named: str
) -> None:
    page = await world.browser.visit(f"{world.browser.url('team-a')}?{query}")

    assert page.status == status
    assert named in page.text


async def test_links_and_forms_stay_in_the_deployment_that_was_asked_for(
    world: OrderAppPlatform,
) -> None:
    placed = await world.browser.place_order("team-a", "Linus", deployment="order-app-v1")

    assert placed.status == 200
    assert placed.deployment == "order-app-v1"
    assert "kf-dep=order-app-v1&amp;kf-ve=team-a" in placed.text


async def test_an_order_placed_in_one_version_exists_in_the_next(world: OrderAppPlatform) -> None:
    placed = await world.browser.place_order("team-a", "Ada", deployment="order-app-v1")
    path = placed.url.partition("/order-app")[2].partition("?")[0]

    review = {"author": "Ada", "stars": "5", "text": "Keeps its warmth"}
    await world.browser.submit("team-a", f"{path}/reviews", review, deployment="order-app-v3")
    v1, v2, v3 = [await world.browser.get("team-a", path, deployment=name) for name in DEPLOYMENTS]

    assert [("Total" in page.text) for page in (v1, v2, v3)] == [False, True, True]
    assert [("Keeps its warmth" in page.text) for page in (v1, v2, v3)] == [False, False, True]


async def test_explain_shows_the_component_that_would_serve_a_url(world: OrderAppPlatform) -> None:
    url = world.browser.url("team-a", deployment="order-app-v2")

    explained = await world.fox("explain", url)

    for named in ("order-app-v2", "team-a", "order-ui", "Path(`/dev/order-app`)"):
        assert named in explained

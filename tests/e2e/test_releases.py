"""A release decides which deployment serves the plain URLs of a virtual environment."""

import asyncio

import pytest

from examples.demo.load import visitors
from tests.e2e.order_app_platform import DEPLOYMENTS, SOON_S, OrderAppPlatform, is_within

pytestmark = pytest.mark.asyncio(loop_scope="session")

MEANWHILE = 50


async def test_a_plain_url_is_404_before_any_release(world: OrderAppPlatform) -> None:
    environment = await world.new_environment()

    page = await world.browser.get(environment)

    assert page.status == 404
    assert "route_not_found" in page.text


async def test_a_release_serves_plain_urls_and_hides_no_other_version(
    world: OrderAppPlatform,
) -> None:
    environment = await world.new_environment()
    versions = await world.platform.versions()

    await world.release("v2", environment)

    plain = await world.browser.get(environment)
    assert is_within(plain, versions, "order-app-v2")
    assert plain.chosen_by.startswith("release ")
    for name in DEPLOYMENTS:
        explicit = await world.browser.get(environment, deployment=name)
        assert is_within(explicit, versions, name)


async def test_another_release_takes_over_without_a_failed_request(world: OrderAppPlatform) -> None:
    environment = await world.new_environment()
    await world.release("v2", environment)

    async with asyncio.timeout(SOON_S), visitors(world.browser, environment) as load:
        await load.wait_more(MEANWHILE)
        await world.release("v1", environment)
        await load.wait_more(MEANWHILE)

    assert load.failed == []
    assert set(load.deployments()) == {"order-app-v1", "order-app-v2"}
    assert (await world.browser.get(environment)).deployment == "order-app-v1"


async def test_a_rollback_brings_the_release_before_it_back(world: OrderAppPlatform) -> None:
    environment = await world.new_environment()
    await world.release("v2", environment)
    await world.release("v3", environment)

    await world.fox("rollback", "--virtual-env", environment, "--wait")

    assert (await world.browser.get(environment)).deployment == "order-app-v2"


async def test_a_release_of_something_unknown_is_not_found(world: OrderAppPlatform) -> None:
    refused = await world.platform.run("release", "v9", "--virtual-env", "team-a")

    assert refused.code == 3
    assert "v9" in refused.err
